from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.server.builds.output import HEAD_LINES, LINE_BYTES, TAIL_LINES, Lines, clean
from lekiwi_deploy.server.builds.test_summary import summary


def test_lines_are_given_as_soon_as_they_are_whole() -> None:
    lines = Lines()
    assert lines.feed(b"a\nb") == ["a"]
    assert lines.feed(b"c\n") == ["bc"]
    assert lines.feed(b"end") == [] and lines.end() == ["end"]


def test_of_very_much_output_the_beginning_and_the_end_are_kept_and_the_rest_counted() -> None:
    lines = Lines()
    shown: list[str] = []
    for number in range(0, 100_000, 1000):
        shown += lines.feed(b"".join(b"%d\n" % n for n in range(number, number + 1000)))
    shown += lines.end()
    assert len(shown) == HEAD_LINES + 1 + TAIL_LINES
    assert shown[0] == "0" and shown[-1] == "99999"
    assert shown[HEAD_LINES].startswith(f"… {100_000 - HEAD_LINES - TAIL_LINES:,} lines left out")


def test_a_line_without_end_costs_no_memory() -> None:
    lines = Lines()
    shown = [line for _ in range(1000) for line in lines.feed(b"x" * 65536)]
    shown += lines.feed(b"\nnext\n")
    assert len(shown) == 2 and len(shown[0]) == LINE_BYTES + 1 and shown[1] == "next"
    assert len(lines._rest) <= LINE_BYTES


def test_what_moves_a_cursor_is_taken_out() -> None:
    assert clean(b"\x1b[31mred\x1b[0m 50%\r100%\r") == "100%"
    assert clean(b"\x1b]0;title\x07a\x00b\xff\tc") == "ab\ufffd\tc"


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_however_output_is_cut_into_pieces_the_lines_are_the_same(pieces: list[bytes]) -> None:
    at_once, in_pieces = Lines(), Lines()
    whole = at_once.feed(b"".join(pieces)) + at_once.end()
    assert [line for piece in pieces for line in in_pieces.feed(piece)] + in_pieces.end() == whole
    assert at_once.lines == in_pieces.lines


def test_counts_are_read_out_of_what_runners_say_last() -> None:
    assert summary(["....", "12 passed in 0.03s"], ok=True) == "12 passed"
    assert summary(["===== 3 failed, 9 passed, 1 warning in 2.0s ====="], ok=False) == "3 failed, 9 passed"
    assert summary(["===== 2 passed, 1 skipped in 61.20s (0:01:01) ====="], ok=True) == "2 passed, 1 skipped"
    assert summary(["Ran 4 tests in 0.1s", "", "OK"], ok=True) == "4 passed"
    assert summary(["Ran 4 tests in 0.1s", "", "FAILED (failures=1, errors=2)"], ok=False) == "3 failed, 1 passed"
    assert summary(["Tests:       1 failed, 3 passed, 4 total"], ok=False) == "1 failed, 3 passed"
    assert summary(["# tests 3", "# pass 3", "# fail 0"], ok=True) == "3 passed"
    assert summary(["  5 passing (20ms)", "  1 failing"], ok=False) == "1 failed, 5 passed"
    assert summary(["test result: ok. 7 passed; 0 failed; 0 ignored"], ok=True) == "7 passed"
    assert summary(["all good"], ok=True) == "passed"
    assert summary(["it broke"], ok=False) == ""
