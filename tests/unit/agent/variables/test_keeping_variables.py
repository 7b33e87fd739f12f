"""What a robot keeps of variables: the first of a revision, the newest revision, and never what it cannot open in place of what it can."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from lekiwi_deploy.agent.config import AgentConfig, write_key
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.plan import Plan, make_plan
from lekiwi_deploy.agent.variables.keeping import Variables
from lekiwi_deploy.agent.variables.masking import HIDDEN, Mask
from lekiwi_deploy.agent.variables.stored import FILE
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import Manifest, Service
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.sealing import seal
from lekiwi_deploy.wire.variables import SealedVariables

ONE, TWO = DeploymentId("dep_aaaaaaaa"), DeploymentId("dep_bbbbbbbb")
SEED, OTHER = bytes(range(32)), bytes(32)


def given(revision: int, environment: str = "production", seed: bytes = SEED, **values: str) -> SealedVariables:
    sealed = seal(values, SigningKey(seed).verify_key.encode())
    return SealedVariables(environment=environment, revision=revision, sealed=sealed, secrets=tuple(values))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path)
    paths.make()
    write_key(paths, SEED)
    for deployment in (ONE, TWO):
        (paths.deployments / deployment).mkdir()
    return paths


def anew(paths: Paths) -> Variables:
    """As a new agent has them."""
    return Variables(paths, Mask())


def plan(paths: Paths, variables: Variables, env: tuple[str, ...] = ("API_KEY",)) -> Plan:
    config = AgentConfig(
        server="http://127.0.0.1:1",
        server_id="srv",
        robot=RobotId("r"),
        project=ProjectName("p"),
        environment=EnvironmentName("production"),
    )
    at = datetime(2026, 1, 1, tzinfo=UTC)
    ref = DeploymentRef(id=ONE, digest=ManifestDigest("0" * 64), manifest_size=0, version="1", created_at=at)
    service = Service(name="web", run=("x",), content="0" * 64, env=env)
    manifest = Manifest(project="p", stack="plain", files=(), services=(service,))
    platform = Platform(system="linux", arch="x86_64", libc="glibc", libc_version="2.36", python="3.11")
    return make_plan(paths, config, platform, ref, manifest, variables.of(ONE))


def test_a_deployment_without_any_has_none(paths: Paths) -> None:
    variables = anew(paths)
    assert (variables.of(ONE).values, variables.trouble(ONE)) == ({}, None)


def test_what_came_first_for_a_revision_stays_and_a_newer_or_another_environment_replaces_it(paths: Paths) -> None:
    variables = anew(paths)
    assert variables.keep(ONE, given(1, A="first"))
    assert not variables.keep(ONE, given(1, A="second"))
    assert anew(paths).of(ONE).values == {"A": "first"}
    assert variables.keep(ONE, given(2, A="third"))
    assert variables.keep(ONE, given(1, "staging", A="fourth"))
    assert anew(paths).of(ONE).values == {"A": "fourth"}
    assert variables.of(TWO).values == {}
    assert variables.keep(ONE, None)
    assert anew(paths).of(ONE).values == {}


def test_the_same_values_in_a_newer_revision_change_nothing_that_runs(paths: Paths) -> None:
    variables = anew(paths)
    variables.keep(ONE, given(1, API_KEY="secret123"))
    before = plan(paths, variables).fingerprints
    assert not variables.keep(ONE, given(2, API_KEY="secret123"))
    assert plan(paths, variables).fingerprints == before
    variables.keep(ONE, given(3, API_KEY="secret124"))
    assert plan(paths, variables).fingerprints != before


def test_the_file_holds_nothing_in_clear_and_is_its_owners_alone(paths: Paths) -> None:
    anew(paths).keep(ONE, given(1, API_KEY="secret123"))
    path = paths.deployments / ONE / FILE
    assert b"secret123" not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_opened_does_not_replace_what_can(paths: Paths) -> None:
    variables = anew(paths)
    variables.keep(ONE, given(1, A="first"))
    assert not variables.keep(ONE, given(2, seed=OTHER, A="second"))
    assert "another key" in (variables.trouble(ONE) or "")
    assert variables.of(ONE).values == {"A": "first"}
    assert variables.keep(ONE, given(2, A="second"))
    assert variables.trouble(ONE) is None


def test_without_anything_before_it_is_kept_so_that_nothing_starts_without(paths: Paths) -> None:
    anew(paths).keep(ONE, given(1, seed=OTHER, API_KEY="secret123"))
    variables = anew(paths)
    assert "another key" in (variables.trouble(ONE) or "")
    assert ONE in variables.unreadable()
    launch = plan(paths, variables).launch("web")
    assert launch is not None
    assert "cannot be opened" in (launch.trouble or "")
    free = plan(paths, variables, env=()).launch("web")
    assert free is not None
    assert free.trouble is None
    assert variables.keep(ONE, given(1, API_KEY="secret123"))
    assert variables.unreadable() == frozenset()


def test_what_runs_has_the_same_fingerprint_when_it_cannot_be_opened_any_more(paths: Paths) -> None:
    variables = anew(paths)
    variables.keep(ONE, given(1, API_KEY="secret123"))
    before = plan(paths, variables).fingerprints
    paths.key.unlink()
    write_key(paths, OTHER)
    after = plan(paths, anew(paths))
    assert after.fingerprints == before
    launch = after.launch("web")
    assert launch is not None
    assert launch.trouble is not None
    assert "API_KEY" not in launch.environment


@pytest.mark.parametrize("damage", ["", "{", '{"given":1}'])
def test_a_damaged_file_is_told_and_mended_by_the_server(paths: Paths, damage: str) -> None:
    (paths.deployments / ONE / FILE).write_text(damage)
    variables = anew(paths)
    assert "damaged" in (variables.trouble(ONE) or "")
    variables.keep(ONE, given(1, API_KEY="secret123"))
    assert anew(paths).of(ONE).values == {"API_KEY": "secret123"}


def test_a_value_that_no_service_could_be_given_is_told_by_its_name_only(paths: Paths) -> None:
    variables = anew(paths)
    variables.keep(ONE, given(1, API_KEY="secret\r123"))
    assert variables.trouble(ONE) == (
        "the value of API_KEY has a control character in it (only newlines and tabs can be given to a service)"
    )


def test_the_robots_own_go_before_and_are_not_sealed(paths: Paths) -> None:
    paths.variables.write_text("API_KEY=own\n")
    variables = anew(paths)
    variables.keep(ONE, given(1, API_KEY="secret123"))
    launch = plan(paths, variables).launch("web")
    assert launch is not None
    assert (launch.environment["API_KEY"], launch.sealed) == ("own", None)


def test_no_representation_of_a_plan_or_a_launch_shows_a_value(paths: Paths) -> None:
    variables = anew(paths)
    variables.keep(ONE, given(1, API_KEY="secret123"))
    made = plan(paths, variables)
    assert "secret123" not in repr((variables.of(ONE), made, made.launch("web")))


def test_a_missing_variable_is_told_with_the_command_that_sets_it(paths: Paths) -> None:
    (text,) = plan(paths, anew(paths)).trouble
    assert "lekiwi env add API_KEY=VALUE -e production" in text


def test_a_slot_that_was_made_anew_has_what_was_kept(paths: Paths) -> None:
    variables = anew(paths)
    variables.keep(ONE, given(1, A="first"))
    path = paths.deployments / ONE / FILE
    stored = path.read_bytes()
    path.unlink()
    variables.restore(ONE)
    assert path.read_bytes() == stored


def test_secrets_are_hidden_while_their_deployment_is_here(paths: Paths) -> None:
    mask = Mask()
    variables = Variables(paths, mask)
    variables.keep(ONE, given(1, A="first-secret"))
    assert mask.hide("first-secret") == HIDDEN
    variables.forget(ONE)
    assert mask.hide("first-secret") == "first-secret"
