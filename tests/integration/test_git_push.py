"""Real pushes with git to a real server on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from git_server import GitServer, Repository, serving

from lekiwi_deploy.server.builds.run import marked
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.repositories import repository_path, tips
from lekiwi_deploy.server.store import projects, refs, tokens
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.api import Role
from lekiwi_deploy.wire.ids import ProjectName

pytestmark = [pytest.mark.anyio, pytest.mark.engine]

RUN = "#!/bin/sh\nexec sleep 1000\n"
PLAIN: dict[str, str | bytes] = {"run*": RUN}


def checked_by(command: str, timeout: str = "1m", extra: str = "") -> dict[str, str | bytes]:
    """A plain project whose test is `command`."""
    return {
        "run*": RUN,
        "lekiwi.yaml": f"test: {{run: '{command}', timeout: {timeout}}}\nservices: {{main: {{run: ./run}}}}\n{extra}",
    }


@pytest.fixture
async def server(context: Context) -> AsyncIterator[GitServer]:
    async with serving(context) as made:
        yield made


@pytest.fixture
def clone(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "clone")


async def until(look: Callable[[], object], *, seconds: float = 20) -> None:
    """Waits until `look()` (a coroutine function or a function) gives something true."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.02)


async def tip(server: GitServer, ref: str = "refs/heads/main", project: str = "arm") -> str | None:
    data = server.context.config.data
    return (await tips(data, repository_path(data, project), "refs/")).get(ref)


async def only(server: GitServer, project: str = "arm") -> DeploymentRow:
    (row,) = await server.deployments(project)
    return row


async def test_an_owners_first_push_makes_the_project_is_built_and_goes_live(
    server: GitServer, clone: Repository
) -> None:
    commit = await clone.commit(PLAIN, "First\n\nwith a body")
    pushed = await clone.git("push", server.address("arm"), "main")
    row = await only(server)
    assert (row.status, row.environment, row.commit_sha, row.source) == ("built", "production", commit, "push")
    assert (row.branch, row.author, row.message, row.created_by) == ("main", "Anna", "First\n\nwith a body", "owner")
    assert row.package_hash and row.rollout
    assert pushed.remote[0].startswith("-----> Build     plain")
    assert (
        pushed.remote[1] == f"-----> Deploy    {row.id}  0.0.0+{commit[:7]}  main@{commit[:7]} → production  0 robots"
    )
    assert pushed.remote[2].startswith("=====> Live in production")


async def test_a_failing_test_rejects_the_push_with_its_lines_and_pushing_again_works(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit(checked_by("echo the arm fell off; exit 3"))
    pushed = await clone.git("push", server.address("arm"), "main", code=1)
    assert "       the arm fell off" in pushed.remote
    assert any(line.startswith(" !     Test") and "exit 3" in line for line in pushed.remote)
    assert await tip(server) is None
    assert (await only(server)).status == "failed"
    again = await clone.git("push", server.address("arm"), "main", code=1)
    assert "       the arm fell off" in again.remote
    commit = await clone.commit(checked_by("echo 4 passed in 0.1s"))
    mended = await clone.git("push", server.address("arm"), "main")
    assert any(line.startswith("-----> Test      4 passed") for line in mended.remote)
    assert await tip(server) == commit


async def test_the_same_content_is_not_built_twice_and_has_the_same_digest(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit(checked_by("echo 1 passed in 0.1s"))
    await clone.git("push", server.address("arm"), "main")
    await clone.commit({}, "nothing changed")
    pushed = await clone.git("push", server.address("arm"), "main")
    assert any(line.startswith("-----> Build     reused, inputs unchanged") for line in pushed.remote)
    assert any(line.startswith("-----> Test      reused, 1 passed") for line in pushed.remote)
    first, second = await server.deployments("arm")
    assert first.package_hash == second.package_hash and first.input_digest == second.input_digest


async def test_a_test_that_hangs_is_killed_with_everything_it_started(server: GitServer, clone: Repository) -> None:
    await clone.commit(checked_by("setsid sleep 1001 & (sleep 1002 &); sleep 1003", timeout="1s"))
    pushed = await clone.git("push", server.address("arm"), "main", code=1)
    assert any("timed out after 1 s and was killed" in line for line in pushed.remote)
    assert marked((await only(server)).id) == []
    assert not any(b"sleep\x00100" in cmdline for cmdline in _command_lines())


def _command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return found


async def test_a_build_that_prints_200_mb_does_no_harm(server: GitServer, clone: Repository) -> None:
    await clone.commit(
        checked_by("yes kiwikiwikiwikiwikiwikiwikiwikiwikiwikiwi | head -c 200000000; echo the end; exit 1")
    )
    pushed = await clone.git("push", server.address("arm"), "main", code=1)
    assert any(line.endswith("the end") for line in pushed.remote)
    assert any("lines left out (200.0 MB of output in all)" in line for line in pushed.remote) or any(
        "lines not shown" in line for line in pushed.remote
    )
    assert len(pushed.remote) < 400
    async with server.context.database.transaction() as tx:
        assert await tx.one("SELECT count(*) FROM progress", None, int) < 5_000


async def test_a_push_of_60_mb_arrives(server: GitServer, clone: Repository) -> None:
    commit = await clone.commit({**PLAIN, "model.bin": os.urandom(60_000_000)})
    await clone.git("push", server.address("arm"), "main", timeout=120)
    assert await tip(server) == commit
    row = await only(server)
    assert row.bytes > 60_000_000 and row.status == "built"


async def test_an_empty_repository_can_be_cloned_and_what_was_pushed_comes_back(
    server: GitServer, clone: Repository, tmp_path: Path
) -> None:
    other = Repository(tmp_path / "other")
    await clone.commit(PLAIN)
    refused = await clone.git("push", server.address("arm"), "nothing:main", code=1)
    assert "nothing does not match any" in refused.text
    await clone.git("ls-remote", server.address("arm"), code=128)
    async with server.context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("arm"), "anna", server.context.now())
    await other.git("clone", "-q", server.address("arm"), "empty")
    await clone.git("checkout", "-q", "-b", "trunk")
    await clone.git("push", server.address("arm"), "trunk")
    await other.git("clone", "-q", server.address("arm"), "full")
    assert (other.path / "full/run").read_text() == RUN
    assert "trunk" in (await Repository(other.path / "full").git("branch", "--show-current")).text


async def test_a_tag_is_the_version_then_the_tag_and_the_distance(server: GitServer, clone: Repository) -> None:
    await clone.commit(PLAIN)
    await clone.git("tag", "v2.1.0")
    pushed = await clone.git("push", server.address("arm"), "main", "v2.1.0")
    assert "       the tag v2.1.0 names a version and deploys nothing by itself" in pushed.remote
    await clone.commit({}, "one more")
    commit = await clone.commit({}, "and another")
    await clone.git("push", server.address("arm"), "main")
    assert [row.version for row in await server.deployments("arm")] == ["v2.1.0", f"v2.1.0-2-g{commit[:7]}"]
    alone = await clone.git("push", server.address("arm"), "HEAD:refs/tags/v3.0.0")
    assert alone.remote == ["       the tag v3.0.0 names a version and deploys nothing by itself"]
    await clone.commit({"pyproject.toml": "[project]\nname = 'x'\nversion = '9'\n"})
    await clone.git("push", server.address("arm"), "main")
    assert (await server.deployments("arm"))[-1].version.startswith("v3.0.0-1-g")


async def test_the_project_file_says_the_version_of_a_project_without_tags(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit({**PLAIN, "package.json": '{"version": "1.4.2"}'})
    await clone.git("push", server.address("arm"), "main")
    assert (await only(server)).version == "v1.4.2"


async def test_a_forced_push_deploys_what_it_pushes_and_says_so(server: GitServer, clone: Repository) -> None:
    old = await clone.commit(PLAIN)
    await clone.git("push", server.address("arm"), "main")
    await clone.git("commit", "--amend", "-q", "-m", "rewritten")
    await clone.git("push", server.address("arm"), "main", code=1)  # git itself refuses
    pushed = await clone.git("push", "--force", server.address("arm"), "main")
    assert any(f"main was {old[:7]} and does not follow it" in line for line in pushed.remote)
    assert (await server.deployments("arm"))[-1].rollout is not None


async def test_several_refs_each_have_their_outcome(server: GitServer, clone: Repository) -> None:
    await clone.commit(checked_by("true", extra="staging: {branch: stage}\n"))
    for branch in ("stage", "idea"):
        await clone.git("branch", branch)
    pushed = await clone.git("push", server.address("arm"), "main", "stage", "idea")
    rows = await server.deployments("arm")
    assert {(row.branch, row.environment) for row in rows} == {("main", "production"), ("stage", "staging")}
    assert all(row.rollout for row in rows)
    assert any("no environment follows the branch idea" in line for line in pushed.remote)
    both = await clone.git(
        "push", "-o", "env=production", server.address("arm"), "main~0:refs/heads/a", "main~0:refs/heads/b", code=1
    )
    assert any("both deploy to production" in line for line in both.remote)
    assert await tip(server, "refs/heads/a") is None


async def test_many_tags_in_one_push_are_taken_quickly(server: GitServer, clone: Repository) -> None:
    commit = await clone.commit(PLAIN)
    lines = "".join(f"create refs/tags/t{number} {commit}\n" for number in range(2_000))
    (clone.path / ".git/refs.txt").write_text(lines)
    await clone.git("-c", "alias.many=!git update-ref --stdin < .git/refs.txt", "many")
    pushed = await clone.git("push", "--tags", server.address("arm"))
    assert any("and 1,980 more refs that deploy nothing" in line for line in pushed.remote)


async def test_a_push_during_a_push_of_the_same_ref_is_refused_naming_who_holds_it(
    server: GitServer, clone: Repository, tmp_path: Path
) -> None:
    await clone.commit(checked_by("sleep 4"))
    first = await clone.start("push", server.address("arm"), "main")
    await until(lambda: server.deployments("arm"))
    await clone.git("commit", "-q", "--allow-empty", "-m", "another")
    _, secret = await server.token("bob", Role.DEPLOYER)
    second = await clone.git("push", server.address("arm", secret), "main", code=1)
    assert any("main is being pushed by owner since" in line for line in second.remote)
    await first.communicate()
    assert first.returncode == 0
    assert [row.status for row in await server.deployments("arm")] == ["built"]


async def test_ctrl_c_stops_following_not_deploying(server: GitServer, clone: Repository) -> None:
    commit = await clone.commit(checked_by("sleep 1"))
    push = await clone.start("push", server.address("arm"), "main")
    await until(lambda: server.deployments("arm"))
    os.killpg(push.pid, signal.SIGINT)
    await push.communicate()
    assert push.returncode != 0

    async def live() -> bool:
        return (await only(server)).rollout is not None

    await until(live)
    assert await tip(server) == commit


async def test_deleting_a_branch_takes_nothing_from_the_robots(server: GitServer, clone: Repository) -> None:
    await clone.commit(checked_by("true", extra="staging: {branch: stage}\n"))
    await clone.git("push", server.address("arm"), "main", "main:idea", "main:stage")
    pushed = await clone.git("push", server.address("arm"), ":idea")
    assert any("idea is deleted" in line for line in pushed.remote)
    for branch, why in (("main", "main branch"), ("stage", "the branch of staging")):
        refused = await clone.git("push", server.address("arm"), f":{branch}", code=1)
        assert any(why in line for line in refused.remote)
        assert await tip(server, f"refs/heads/{branch}")


async def test_push_options_choose_message_environment_and_waiting(server: GitServer, clone: Repository) -> None:
    await clone.commit(checked_by("true", extra="staging: {}\n"))
    pushed = await clone.git(
        "push", "-o", "env=staging", "-o", "wait=false", "-o", "message=by hand", server.address("arm"), "main"
    )
    row = await only(server)
    assert (row.environment, row.message) == ("staging", "by hand")
    assert any(f"lekiwi inspect {row.id} --wait" in line for line in pushed.remote)
    assert not any(line.startswith("=====>") for line in pushed.remote)
    wrong = await clone.git("push", "-o", "wiat=false", server.address("arm"), "main:other", code=1)
    assert any("did you mean 'wait'" in line for line in wrong.remote)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"run*": RUN, "lekiwi.yaml": "servcies: {}\n"}, "lekiwi.yaml:1: servcies: unknown key 'servcies'; did you mean"),
        ({"README": "hello"}, "nothing to run was found: add an executable file named `run`"),
        ({"app.py": "from fastapi import FastAPI\napp = FastAPI()\n", "requirements.txt": "fastapi\n"}, "add uvicorn to requirements.txt"),
    ],
)  # fmt: skip
async def test_what_is_missing_is_said_in_one_line(
    server: GitServer, clone: Repository, files: dict[str, str | bytes], why: str
) -> None:
    await clone.commit(files)
    pushed = await clone.git("push", server.address("arm"), "main", code=1)
    assert sum(why in line for line in pushed.remote) == 1, pushed.text
    assert await tip(server) is None


async def test_a_frozen_environment_is_built_for_and_goes_live_when_it_is_unfrozen(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit(PLAIN)
    await clone.git("push", server.address("arm"), "main")
    async with server.context.database.transaction() as tx:
        await projects.freeze(tx, ProjectName("arm"), "production", "bob", server.context.now(), "demo today")
    await clone.commit({"x": "1"})
    pushed = await clone.git("push", server.address("arm"), "main")
    assert any(
        "production is frozen by bob (demo today); lekiwi unfreeze -e production lets it go" in line
        for line in pushed.remote
    )
    row = (await server.deployments("arm"))[-1]
    assert (row.status, row.rollout) == ("built", None)
    async with server.context.database.transaction() as tx:
        await projects.unfreeze(tx, ProjectName("arm"), "production")

    async def live() -> bool:
        return (await server.deployments("arm"))[-1].rollout is not None

    await until(live)


async def test_without_auto_deploy_a_push_is_built_and_says_how_to_let_it_go(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit(
        {**PLAIN, "lekiwi.yaml": "production: {branch: main, auto_deploy: false, health_checks: strict}\n"}
    )
    pushed = await clone.git("push", server.address("arm"), "main")
    row = await only(server)
    assert any(f"waits for 1 approval: lekiwi approve {row.id} -e production" in line for line in pushed.remote)
    assert row.rollout is None
    async with server.context.database.transaction() as tx:
        environment = await projects.environment(tx, ProjectName("arm"), "production")
    assert (environment.branch, environment.auto_deploy, environment.health_checks) == ("main", False, "strict")


async def test_only_the_default_branch_says_what_environments_are(server: GitServer, clone: Repository) -> None:
    await clone.commit({**PLAIN, "lekiwi.yaml": "staging: {branch: stage, auto_deploy: true}\n"})
    await clone.git("push", server.address("arm"), "main")
    await clone.commit({"lekiwi.yaml": "staging: {branch: stage, auto_deploy: false}\nproduction: {branch: stage2}\n"})
    await clone.git("push", server.address("arm"), "main:stage")
    async with server.context.database.transaction() as tx:
        found = {each.name: each for each in await projects.environments(tx, ProjectName("arm"))}
    assert found["staging"].auto_deploy and found["production"].branch is None


async def test_a_push_whose_server_died_while_building_has_failed_and_can_be_pushed_again(
    server: GitServer, clone: Repository
) -> None:
    commit = await clone.commit(PLAIN)
    await clone.git("push", server.address("arm"), "main")
    context, row = server.context, await only(server)
    async with context.database.transaction() as tx:  # as a killed server leaves it
        await tx.execute(
            "UPDATE deployments SET status = 'building', rollout = NULL, package_hash = NULL, claimed_by = 'rep_gone', claim_until = %s",
            (context.now() - timedelta(seconds=1),),
        )

    async def failed() -> bool:
        return (await server.deployments("arm"))[0].status == "failed"

    await until(failed)
    assert (await server.deployments("arm"))[0].error == "the server was restarted during the build; push again"
    async with context.database.transaction() as tx:
        assert await refs.holder(tx, ProjectName("arm"), "refs/heads/main", context.now()) is None
    assert row.commit_sha == commit


async def test_a_rollout_that_a_dead_server_did_not_start_is_started(server: GitServer, clone: Repository) -> None:
    await clone.commit(PLAIN)
    async with server.context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("arm"), "anna", server.context.now())
        await projects.ensure_environment(tx, ProjectName("arm"), "production", server.context.now())  # type: ignore[arg-type]
        await projects.freeze(tx, ProjectName("arm"), "production", "anna", server.context.now(), "")
    await clone.git("push", server.address("arm"), "main")
    assert (await only(server)).rollout is None
    async with server.context.database.transaction() as tx:  # no hint: as after a restart
        await tx.execute("UPDATE environments SET freeze_at = NULL")

    async def live() -> bool:
        return (await only(server)).rollout is not None

    await until(live)


async def test_who_may_not_push_is_told_why_in_gits_own_output(server: GitServer, clone: Repository) -> None:
    await clone.commit(PLAIN)
    await clone.git("push", server.address("arm"), "main")
    _, deployer = await server.token("bob", Role.DEPLOYER)
    _, viewer = await server.token("eve", Role.VIEWER)
    unknown = await clone.git("push", server.address("leg", deployer), "main", code=128)
    assert any(
        "there is no project 'leg' on this server" in line and "lekiwi link leg" in line for line in unknown.remote
    )
    assert await server.deployments("leg") == []
    looking = await clone.git("ls-remote", server.address("leg", viewer), code=128)
    assert any("lekiwi link leg" in line for line in looking.remote)
    await clone.git("ls-remote", server.address("arm", viewer))
    pushing = await clone.git("push", server.address("arm", viewer), "main", code=128)
    assert any("this needs the role deployer; the token 'eve' has the role viewer" in line for line in pushing.remote)
    bad_name = await clone.git("push", server.address("Arm"), "main", code=128)
    assert any("cannot name a project" in line for line in bad_name.remote)
    await clone.git("push", server.address("arm", deployer), "main:idea")


async def test_a_revoked_token_and_no_token_are_refused(server: GitServer, clone: Repository) -> None:
    await clone.commit(PLAIN)
    id, secret = await server.token("bob", Role.DEPLOYER)
    async with server.context.database.transaction() as tx:
        await projects.insert(tx, ProjectName("arm"), "anna", server.context.now())
    await clone.git("ls-remote", server.address("arm", secret))
    async with server.context.database.transaction() as tx:
        await tokens.revoke(tx, id, server.context.now())
        await tx.notify("revoked", id)
    refused = await clone.git("push", server.address("arm", secret), "main", code=128)
    assert any("the token 'bob' was revoked" in line for line in refused.remote), refused.text
    nobody = await clone.git("push", server.url + "/git/arm.git", "main", code=128)
    assert "Authentication failed" in nobody.text or "could not read" in nobody.text


async def test_what_a_repository_says_of_itself_changes_nothing_here(server: GitServer, clone: Repository) -> None:
    """Submodules, LFS, filters: left out or as stored, with one line each."""
    commit = await clone.commit(
        {
            **PLAIN,
            ".gitattributes": "*.txt filter=evil export-ignore\n",
            ".gitmodules": '[submodule "m"]\n\tpath = m\n\turl = ../m\n',
            "a.txt": "kept",
            "big.bin": "version https://git-lfs.example/spec/v1\noid sha256:0\nsize 1\n",
        }
    )
    await clone.git("update-index", "--add", "--cacheinfo", f"160000,{commit},m")
    await clone.git("commit", "-q", "-m", "submodule")
    pushed = await clone.git("push", server.address("arm"), "main")
    for hint in (
        "the submodule m is left out",
        "big.bin is a Git LFS pointer",
        "filters named in .gitattributes are not applied",
    ):
        assert sum(hint in line for line in pushed.remote) == 1, pushed.text
    assert (await only(server)).files >= 4


async def test_a_link_out_of_the_project_is_refused(server: GitServer, clone: Repository) -> None:
    await clone.commit(PLAIN)
    (clone.path / "secret").symlink_to("/etc/passwd")
    await clone.commit({})
    pushed = await clone.git("push", server.address("arm"), "main", code=1)
    assert any("symbolic link to the absolute path" in line for line in pushed.remote)


async def test_messages_and_names_with_control_characters_reach_nobodys_terminal(
    server: GitServer, clone: Repository
) -> None:
    await clone.commit(PLAIN, "evil \x1b[2J\x07 message " + "x" * 100_000)
    await clone.git("push", server.address("arm"), "main")
    row = await only(server)
    assert row.message is not None and "\x1b" not in row.message and len(row.message) <= 2_000


async def test_pushes_beyond_what_the_server_builds_at_once_wait_their_turn(
    server: GitServer, clone: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lekiwi_deploy.server.builds.builder.AT_ONCE", 1)
    await clone.commit(checked_by("sleep 1"))
    pushes = [await clone.start("push", server.address(name), "main") for name in ("arm", "leg")]
    outs = [(await push.communicate())[0].decode() for push in pushes]
    assert [push.returncode for push in pushes] == [0, 0]
    assert sum("waiting for other builds on this server" in out for out in outs) == 1


async def test_two_first_pushes_at_the_same_moment_make_one_repository(server: GitServer, clone: Repository) -> None:
    await clone.commit(PLAIN)
    pushes = [
        await clone.start("push", server.address("arm"), f"main:{branch}") for branch in ("main", "idea", "other")
    ]
    outs = [(await push.communicate())[0].decode() for push in pushes]
    assert [push.returncode for push in pushes] == [0, 0, 0], outs
    for branch in ("main", "idea", "other"):
        assert await tip(server, f"refs/heads/{branch}")
