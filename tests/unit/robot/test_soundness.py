"""Nothing that comes over the link may name a folder of its own choice."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.soundness import unsound
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ManifestDigest
from lekiwi_deploy.wire.link import DeploymentRef, Desired, TrialPolicy

REF = DeploymentRef(
    id=DeploymentId("dep_8x2k91Ab"),
    digest=ManifestDigest("ab" * 32),
    manifest_size=100,
    version="v1",
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)
DESIRED = Desired(epoch=1, generation=3, environment=EnvironmentName("production"), deployment=REF, ticket="t")


def with_ref(**changes: object) -> Desired:
    return msgspec.structs.replace(DESIRED, deployment=msgspec.structs.replace(REF, **changes))


def test_what_the_server_sends_is_sound() -> None:
    assert unsound(DESIRED) is None
    assert unsound(msgspec.structs.replace(DESIRED, deployment=None, ticket=None)) is None


@pytest.mark.parametrize(
    "id_", ["../../etc", "dep_../../../", "", ".", "dep_", "dep_8x2k91A/", "dep_8x2k91Ab\n", "current", "/etc/passwd"]
)
def test_an_id_that_could_be_a_path_is_refused(id_: str) -> None:
    assert unsound(with_ref(id=DeploymentId(id_))) is not None


@given(st.text())
def test_a_sound_id_is_one_part_of_a_path(text: str) -> None:
    if unsound(with_ref(id=DeploymentId(text))) is None:
        assert "/" not in text and text not in ("", ".", "..") and text.isascii()


@pytest.mark.parametrize("digest", ["", "ab" * 31, "AB" * 32, "../" * 21 + "x", "ab" * 32 + "\n"])
def test_a_digest_is_one(digest: str) -> None:
    assert unsound(with_ref(digest=ManifestDigest(digest))) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"epoch": -1},
        {"generation": 2**60},
        {"max_deployments": 0},
        {"policy": TrialPolicy(trial_s=1e12)},
        {"policy": TrialPolicy(starts=0)},
        {"ticket": "x" * 20_000},
        {"ticket": "a\0b"},
    ],
)
def test_numbers_and_texts_have_bounds(changes: dict[str, object]) -> None:
    assert unsound(msgspec.structs.replace(DESIRED, **changes)) is not None
