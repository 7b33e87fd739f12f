from __future__ import annotations

from dataclasses import replace

import pytest

from lekiwi_deploy.agent.supervisors.supervisor import Told
from lekiwi_deploy.agent.supervisors.systemd.facts import Facts, ending, told, updated

RUNNING = Facts(active="active", sub="running", pid=7, started=1)


def test_only_what_was_told_changes() -> None:
    news = {"ActiveState": ("s", "active"), "MainPID": ("u", 12), "Id": ("s", "x.service")}
    assert updated(Facts(), news) == Facts(active="active", pid=12)
    assert updated(RUNNING, {"Id": ("s", "x")}) is RUNNING


def test_a_unit_whose_job_is_under_way_is_not_over() -> None:
    facts = updated(Facts(), {"Job": ("(uo)", (7, "/org/freedesktop/systemd1/job/7"))})
    assert not facts.over
    assert updated(facts, {"Job": ("(uo)", (0, "/"))}).over
    assert not replace(facts, active="activating", sub="auto-restart").over


@pytest.mark.parametrize(
    ("active", "sub", "over", "waits"),
    [
        ("active", "running", False, False),
        ("activating", "start", False, False),
        ("deactivating", "stop-sigterm", False, False),
        ("inactive", "dead", True, False),
        ("failed", "failed", True, False),
        ("activating", "auto-restart", True, True),
    ],
)
def test_states_of_a_unit(active: str, sub: str, over: bool, waits: bool) -> None:
    facts = Facts(active=active, sub=sub)
    assert (facts.over, facts.waits) == (over, waits)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (Facts(started=1, code=1, status=3, result="exit-code"), "exited with code 3"),
        (Facts(started=1, code=1, status=0), "exited with code 0"),
        (Facts(started=1, code=2, status=9, result="signal"), "was killed by SIGKILL"),
        (Facts(started=1, code=3, status=11, result="core-dump"), "was killed by SIGSEGV, leaving a core dump"),
        (Facts(started=1, code=2, status=64, result="signal"), "was killed by SIGRTMAX"),
        (Facts(started=1, code=2, status=6, result="watchdog"), "was killed: no sign of life for 2 s"),
        (Facts(started=1, code=2, status=9, result="oom-kill"), "was killed: it used more memory"),
        (Facts(started=1, code=1, status=203, result="exit-code"), "its program cannot be executed"),
        (Facts(started=1, code=1, status=216, result="exit-code"), "one of its groups does not exist"),
        (Facts(result="resources"), "cannot be started"),
        (Facts(started=1, code=1, status=0, result="protocol"), "ended before it said that it is ready"),
        (Facts(), "cannot be started"),
    ],
)
def test_how_it_ended_is_said_in_words(facts: Facts, words: str) -> None:
    assert words in ending(facts, 2.0)


def test_the_contract_is_read_out_of_the_status() -> None:
    waiting = told(Told(), replace(RUNNING, text="waiting for motors"), notify=True, now=100.0)
    assert waiting.ready
    assert waiting.waiting_for == "motors"
    owns = told(waiting, replace(RUNNING, text="owns motors @99.5"), notify=True, now=100.0)
    assert (owns.waiting_for, owns.owns_since) == (None, 99.5)
    released = told(owns, replace(RUNNING, text="released motors @99.75"), notify=True, now=100.0)
    assert released.released_at == 99.75


def test_a_moment_that_was_not_said_does_not_move_with_later_news() -> None:
    first = told(Told(), replace(RUNNING, text="owns motors"), notify=False, now=100.0)
    assert first.owns_since == 100.0
    assert told(first, replace(RUNNING, text="owns motors", pid=8), notify=False, now=105.0).owns_since == 100.0


def test_who_does_not_say_that_it_is_ready_never_is() -> None:
    assert not told(Told(), RUNNING, notify=False, now=0.0).ready
    assert told(Told(), RUNNING, notify=True, now=0.0).ready
    assert not told(Told(), replace(RUNNING, active="activating", sub="start"), notify=True, now=0.0).ready
