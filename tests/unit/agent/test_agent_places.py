"""What is written down about going over to another release of the agent, killed at every step."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.self_update import journal_copy, places
from lekiwi_deploy.agent.self_update.places import Outcome, Places, Trial
from lekiwi_deploy.agent.self_update.units import BEFORE_START

OLD, NEW = "0.1.0-aaaaaaaa", "0.2.0-bbbbbbbb"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRIAL = Trial(old=OLD, new=NEW, attempt=3, linked=True, at=NOW)


def outcome(stayed: bool) -> Outcome:
    return Outcome(old=OLD, new=NEW, stayed=stayed, why="it did not answer", at=NOW)


class Killed(BaseException):
    """SIGKILL, or the power is gone."""


@pytest.fixture
def here(tmp_path: Path) -> Places:
    """A robot with two unpacked releases, of which the older one is in use."""
    paths = Paths(tmp_path)
    for release in (OLD, NEW):
        (paths.agents / release / "bin").mkdir(parents=True)
    (paths.agents / "current").symlink_to(OLD)
    return Places(paths)


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Die before the step-th change of the disk; how many there were is in the list."""
    count = [0]

    def dying(change: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **named: object) -> object:
            count[0] += 1
            if count[0] == step:
                raise Killed
            return change(*arguments, **named)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(places, "write_durably", dying(places.write_durably))
        for name in ("unlink", "symlink_to", "replace"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        yield count


def before_start(here: Places) -> None:
    """What systemd runs before it starts the agent."""
    script = here.folder / "before-start"
    script.write_text(BEFORE_START)
    subprocess.run(["/bin/sh", str(script), str(here.folder)], check=True)


def test_a_beginning_that_is_killed_anywhere_is_no_trial_or_a_whole_one(
    here: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while True:
        step += 1
        try:
            with killed_at(step, monkeypatch):
                here.begin(TRIAL)
        except Killed:
            assert here.current == OLD
            assert here.trial() in (None, TRIAL)
            before_start(here)
            assert here.current == OLD
            continue
        break
    assert step > 5
    assert here.trial() == TRIAL and here.starts() == 0
    assert (here.folder / "previous").readlink() == Path(OLD)
    assert here.book().newest == 3


def test_going_back_that_is_killed_anywhere_is_never_taken_for_a_trial_that_begins(
    here: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while True:
        here.begin(TRIAL)
        here.go(NEW)
        step += 1
        try:
            with killed_at(step, monkeypatch):
                here.go_back(TRIAL, "it did not answer")
                here.end(outcome(False), TRIAL.attempt)
        except Killed:
            begins = here.on_trial and here.current == OLD and here.went_back() is None
            assert not begins, f"step {step}: it would be gone over to once more"
            here.end(outcome(False), TRIAL.attempt)
            _is_ended(here, False)
            continue
        break
    assert step > 6


@pytest.mark.parametrize("stayed", [True, False])
def test_an_end_that_is_killed_anywhere_is_ended_by_doing_it_again(
    here: Places, monkeypatch: pytest.MonkeyPatch, stayed: bool
) -> None:
    step = 0
    while True:
        here.begin(TRIAL)
        here.go(NEW)
        step += 1
        try:
            with killed_at(step, monkeypatch):
                here.end(outcome(stayed), TRIAL.attempt)
        except Killed:
            assert here.current in (OLD, NEW)
            assert here.on_trial or here.outcome() is not None, "nobody would know"
            here.end(outcome(stayed), TRIAL.attempt)
            _is_ended(here, stayed)
            continue
        break
    assert step > 3
    _is_ended(here, stayed)


def _is_ended(here: Places, stayed: bool) -> None:
    assert here.current == (NEW if stayed else OLD)
    assert not here.on_trial and here.trial() is None
    assert here.outcome() == outcome(stayed)
    assert (NEW in here.book().refused) is not stayed
    here.told()
    assert here.outcome() is None
    (here.folder / "attempts.json").unlink(missing_ok=True)


def test_a_release_that_is_started_again_and_again_is_left_without_anybodys_help(here: Places) -> None:
    here.begin(TRIAL)
    here.go(NEW)
    for start in (1, 2, 3):
        before_start(here)
        assert (here.current, here.starts()) == (NEW, start)
    before_start(here)
    assert here.current == OLD
    assert not here.on_trial
    assert "started 3 times" in (here.went_back() or "")
    assert here.last_trial() == TRIAL
    before_start(here)
    assert here.current == OLD


def test_what_runs_before_a_start_does_nothing_without_a_trial(here: Places) -> None:
    before_start(here)
    assert here.current == OLD
    here.begin(TRIAL)
    before_start(here)  # the guard did not go over yet
    assert (here.current, here.starts()) == (OLD, 0)
    for damaged in ("", "x", f"{OLD} {NEW} many\n", "../../etc passwd 9\n"):
        (here.folder / "unconfirmed").write_text(damaged)
        before_start(here)
        assert here.current == OLD


def test_a_fallback_that_is_not_there_is_not_gone_back_to(here: Places) -> None:
    here.begin(TRIAL)
    here.go(NEW)
    (here.folder / OLD / "bin").rmdir()
    (here.folder / OLD).rmdir()
    for _ in range(6):
        before_start(here)
    assert here.current == NEW


def test_a_damaged_book_is_as_good_as_none(here: Places) -> None:
    (here.folder / "attempts.json").write_text("{")
    (here.folder / "trial.json").write_text("[")
    (here.folder / "unconfirmed").write_text(f"{OLD} {NEW} 0\n")
    assert here.book() == places.Book()
    assert here.trial() is None


def test_a_journal_that_the_release_before_cannot_read_is_put_back(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    paths.agent.mkdir(parents=True)
    journal_copy.keep(paths)  # there is none yet
    paths.journal.write_text('{"schema":1}')
    journal_copy.keep(paths)
    assert not journal_copy.put_back_if_unreadable(paths), "it can be read"
    paths.journal.write_text('{"schema":999}')
    assert journal_copy.put_back_if_unreadable(paths)
    assert paths.journal.read_text() == '{"schema":1}'
    assert paths.journal.with_name("journal.json.damaged").read_text() == '{"schema":999}'
    journal_copy.forget(paths)
    paths.journal.write_text("{")
    assert not journal_copy.put_back_if_unreadable(paths), "there is nothing to put back"
