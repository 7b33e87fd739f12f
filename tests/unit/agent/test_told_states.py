import pytest

from lekiwi_deploy.agent.supervisors.supervisor import Told
from lekiwi_deploy.agent.supervisors.told import after_message, after_status

NOW = 1000.0


def told(*lines: str, before: Told | None = None) -> Told:
    return after_message(before or Told(), "\n".join(lines).encode(), NOW).told


def test_a_program_is_followed_from_waiting_to_owning_to_letting_go() -> None:
    waits = told("STATUS=waiting for motors")
    assert (waits.waiting_for, waits.owns_since) == ("motors", None)
    owns = told("STATUS=owns motors @999.5", "READY=1", before=waits)
    assert (owns.waiting_for, owns.owns_since, owns.released_at, owns.ready) == (None, 999.5, None, True)
    gone = told("STATUS=released motors @999.75", before=owns)
    assert (gone.owns_since, gone.released_at) == (999.5, 999.75)
    again = told("STATUS=owns motors @999.9", before=gone)
    assert (again.owns_since, again.released_at) == (999.9, None)


@pytest.mark.parametrize("when", ["", "@", "@nan", "@inf", "@-5", "@1000.1", "@900", "@1e9", "now", "@999 @999"])
def test_a_moment_that_cannot_be_is_the_moment_of_arrival(when: str) -> None:
    assert told(f"STATUS=owns motors {when}").owns_since == NOW


def test_any_other_status_is_only_shown() -> None:
    before = told("STATUS=owns motors @999")
    after = after_status(before, "serving 3 clients\x1b[31m", NOW)
    assert (after.owns_since, after.status) == (999.0, "serving 3 clients [31m")
    assert len(after_status(before, "x" * 5000, NOW).status or "") == 200


def test_signs_of_life_are_told_apart_from_calls_for_help() -> None:
    assert after_message(Told(), b"WATCHDOG=1", NOW).alive
    assert after_message(Told(), b"WATCHDOG=trigger\nSTATUS=stuck", NOW).failed
    assert not after_message(Told(), b"WATCHDOG=0\nREADY=yes\nnonsense\n=\n\xff\xfe", NOW).alive


def test_reloading_is_not_ready_until_it_says_so_again() -> None:
    ready = told("READY=1")
    assert not told("RELOADING=1", before=ready).ready
    assert told("RELOADING=1\nREADY=1", before=ready).ready
