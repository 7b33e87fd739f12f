from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.robot.retention import retention
from lekiwi_deploy.wire.ids import DeploymentId

IDS = [DeploymentId(f"dep_{number:08d}") for number in range(12)]
SOME = st.frozensets(st.sampled_from(IDS))
ONE = st.one_of(st.none(), st.sampled_from(IDS))


@given(st.dictionaries(st.sampled_from(IDS), st.integers(1, 50)), SOME, st.integers(0, 15), ONE, ONE, SOME)
def test_what_is_live_needed_or_gone_back_to_always_stays(
    staged: dict[DeploymentId, int],
    laid_out: frozenset[DeploymentId],
    keep: int,
    live: DeploymentId | None,
    back: DeploymentId | None,
    needed: frozenset[DeploymentId],
) -> None:
    found = retention(staged, laid_out, keep=keep, live=live, fallback=back, needed=needed)
    safe = needed | {live, back}
    assert not set(found.prune) & safe
    assert not set(found.tear_down) & safe
    left = set(staged) - set(found.prune)
    assert len(left) <= max(keep, len(set(staged) & safe))
    assert laid_out - set(found.tear_down) <= safe


def test_the_oldest_go_first() -> None:
    staged = {IDS[0]: 5, IDS[1]: 1, IDS[2]: 3, IDS[3]: 4}
    found = retention(staged, frozenset(), keep=2, live=IDS[1], fallback=None, needed=frozenset())
    assert found.prune == (IDS[2], IDS[3])


def test_only_the_live_one_and_its_fallback_stay_laid_out() -> None:
    staged = {id_: number for number, id_ in enumerate(IDS[:4], 1)}
    found = retention(staged, frozenset(IDS[:4]), keep=100, live=IDS[3], fallback=IDS[2], needed=frozenset())
    assert (found.prune, found.tear_down) == ((), (IDS[0], IDS[1]))
