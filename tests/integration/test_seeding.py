"""Whose word the policy is: pushes with a lekiwi.yaml that says something else, on the default branch and on others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from git_server import GitServer, Repository, serving

from lekiwi_deploy.server import policies, seeding
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import groups
from lekiwi_deploy.server.store import policies as rows
from lekiwi_deploy.wire.ids import ProjectName
from lekiwi_deploy.wire.policy import Policy

pytestmark = [pytest.mark.anyio, pytest.mark.engine]

ARM = ProjectName("arm")
RUN = "#!/bin/sh\nexec sleep 1000\n"
STRICT = "production: {auto_deploy: false, health_checks: strict}\nstaging: {branch: staging, auto_deploy: false, in_flight: 1}\n"
LAX = "production: {auto_deploy: true}\nstaging: {branch: staging, auto_deploy: true, approvals: 0}\n"


@pytest.fixture
async def server(context: Context) -> AsyncIterator[GitServer]:
    async with serving(context) as made:
        yield made


@pytest.fixture
def clone(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "clone")


async def policy(server: GitServer, name: str) -> Policy:
    async with server.context.database.transaction() as tx:
        return policies.spec_of(await policies.the_policy(tx, ARM, name)).policy


async def test_a_branch_cannot_change_the_policy_that_it_is_judged_by(server: GitServer, clone: Repository) -> None:
    await clone.commit({"run*": RUN, "lekiwi.yaml": STRICT})
    await clone.git("push", server.address("arm"), "main")
    await clone.git("checkout", "-q", "-b", "staging")
    await clone.commit({"lekiwi.yaml": LAX}, "let me through")
    pushed = await clone.git("push", server.address("arm"), "staging")
    _, row = await server.deployments("arm")
    assert (row.environment, row.status, row.rollout) == ("staging", "built", None)
    assert any("approve" in line for line in pushed.remote)
    assert (await policy(server, "staging")).auto_deploy is False
    assert (await policy(server, "production")).health_checks == "strict"


async def test_the_default_branch_says_what_holds_from_its_push_on(server: GitServer, clone: Repository) -> None:
    await clone.commit({"run*": RUN, "lekiwi.yaml": STRICT})
    await clone.git("push", server.address("arm"), "main")
    (first,) = await server.deployments("arm")
    assert (first.status, first.rollout) == ("built", None)
    await clone.commit({"lekiwi.yaml": LAX + 'groups: {lab: "site=lab"}\nbranches: {"dev/*": lab}\n'})
    await clone.git("push", server.address("arm"), "main")
    _, second = await server.deployments("arm")
    assert second.rollout is not None
    assert (await policy(server, "staging")).in_flight is None
    async with server.context.database.transaction() as tx:
        assert await rows.branches(tx, ARM) == (("dev/*", "lab"),)
        assert await groups.selectors(tx, ARM) == {"lab": "site=lab"}


async def test_what_people_set_is_compared_with_the_file_as_it_is_now(server: GitServer, clone: Repository) -> None:
    await clone.commit({"run*": RUN, "lekiwi.yaml": STRICT})
    await clone.git("push", server.address("arm"), "main")
    async with server.context.database.transaction() as tx:
        moved, change = await policies.set_policy(tx, ARM, "anna", "staging", "staging", Policy(in_flight=4))
    assert (moved, change is not None) == ({}, True)
    await clone.commit({"README": "something else"})
    await clone.git("push", server.address("arm"), "main")
    assert (await policy(server, "staging")).in_flight == 4
    file = await seeding.read_file(server.context, ARM)
    assert file is not None
    said = {one.name: one for one in file.environments}["staging"]
    async with server.context.database.transaction() as tx:
        holds = policies.spec_of(await policies.the_policy(tx, ARM, "staging"))
    assert policies.differences(holds, said) == {"auto_deploy": ["true", "false"], "in_flight": ["4", "1"]}
