"""What a terminal shows, checked on one that is emulated."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyte
import pytest

from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.cli.region import Lines, Region, bar
from lekiwi_deploy.cli.table import Cell, Column


class Terminal(io.StringIO):
    """A stream that is a terminal of 40 x 10 cells."""

    def __init__(self) -> None:
        super().__init__()
        self._screen = pyte.Screen(40, 10)
        self._stream = pyte.Stream(self._screen)

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._stream.feed(text.replace("\n", "\r\n"))
        return super().write(text)

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self._screen.display if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_lines_that_stay_scroll_above_those_that_change(terminal: Terminal) -> None:
    now: list[Sequence[str | Cell]] = [("working",)]

    def render(seconds: float) -> Lines:
        return now

    with Region(Output(terminal, terminal), render) as region:
        region.say("one")
        assert terminal.shown() == ["one", "working"]
        now[:] = [("still working",), ("on this",)]
        region.say(Cell("two", "green"))
        assert terminal.shown() == ["one", "two", "still working", "on this"]
        now[:] = [("nearly",)]
        region.say("three")
        assert terminal.shown() == ["one", "two", "three", "nearly"]
    assert terminal.shown() == ["one", "two", "three"]


def test_a_line_that_is_too_long_is_cut_so_that_nothing_of_it_stays(terminal: Terminal) -> None:
    def render(seconds: float) -> Lines:
        return [("x" * 100, Cell("y" * 100, "dim"))]

    with Region(Output(terminal, terminal), render) as region:
        region.say("one")
        assert terminal.shown() == ["one", "x" * 38 + "…"]
    assert terminal.shown() == ["one"]


def test_more_lines_than_the_terminal_has_are_left_out(terminal: Terminal) -> None:
    def render(seconds: float) -> Lines:
        return [(f"robot {number}",) for number in range(50)]

    with Region(Output(terminal, terminal), render) as region:
        region.say("one")
        assert terminal.shown() == ["one", *(f"robot {number}" for number in range(8))]
    assert terminal.shown() == ["one"]


def test_without_a_terminal_only_what_stays_is_written() -> None:
    err = io.StringIO()

    def render(seconds: float) -> Lines:
        return [("working",)]

    with Region(Output(io.StringIO(), err), render) as region:
        region.say("one")
    assert err.getvalue() == "one\n"


def test_colour_is_for_terminals_that_want_it(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    Output(terminal, terminal).say(Cell("red", "red"))
    assert "\x1b[31mred" in terminal.getvalue()
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        monkeypatch.setenv(name, value)
        plain = Terminal()
        Output(plain, plain).say(Cell("red", "red"))
        assert plain.getvalue() == "red\n"
        monkeypatch.delenv(name)
    piped = io.StringIO()
    Output(piped, piped).say(Cell("red", "red"))
    assert piped.getvalue() == "red\n"


def test_a_header_is_seen_on_a_terminal_and_is_no_data(terminal: Terminal) -> None:
    out = Terminal()
    output = Output(out, terminal)
    output.no_color = True
    output.table((Column("ID"), Column("WHO", 1)), [("dep_1", "anna")])
    assert terminal.shown() == ["ID     WHO"]
    assert out.shown() == ["dep_1  anna"]


def test_a_bar_is_as_full_as_what_it_shows() -> None:
    assert [bar(done, 4, 8) for done in (0, 1, 4, 9)] == ["░" * 8, "██░░░░░░", "█" * 8, "█" * 8]
    assert bar(0, 0, 4) == "████"
