from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.cli.table import Cell, Column, clean, cut, lay_out, wide

COLUMNS = (Column("ID"), Column(""), Column("NAME", 1), Column("BY", 2))
ROWS = [("dep_1", "✅ Active", "first", "anna"), ("dep_22", "", "second one", "bo")]


def texts(width: int | None, *, header: bool = True) -> tuple[list[str], list[str]]:
    lines, left_out = lay_out(COLUMNS, ROWS, width, header=header)
    return ["  ".join(cell.text for cell in line) for line in lines], left_out


def test_columns_line_up_also_with_wide_signs() -> None:
    lines, left_out = texts(None)
    assert lines == [
        "ID                 NAME        BY",
        "dep_1   ✅ Active  first       anna",
        "dep_22             second one  bo",
    ]
    assert left_out == []


def test_the_least_important_columns_go_first_when_it_is_narrow() -> None:
    assert texts(32) == (
        ["ID                 NAME", "dep_1   ✅ Active  first", "dep_22             second one"],
        ["BY"],
    )
    assert texts(20)[1] == ["NAME", "BY"]


def test_what_is_left_is_cut_rather_than_wrapped() -> None:
    lines, _ = lay_out((Column("WHY"),), [("x" * 50,)], 20, header=False)
    assert lines[0][0].text == "x" * 19 + "…"


def test_a_column_without_a_word_takes_no_room() -> None:
    lines, left_out = lay_out(COLUMNS, [("dep_1", "", "first", "")], None, header=True)
    assert [cell.text for cell in lines[1]] == ["dep_1", "first"]
    assert left_out == []


def test_without_a_header_its_words_take_no_room() -> None:
    lines, _ = lay_out((Column("A LONG TITLE"), Column("B")), [("a", "b")], None, header=False)
    assert [cell.text for cell in lines[0]] == ["a", "b"]


@given(
    st.lists(st.tuples(*[st.text(max_size=30)] * 4), min_size=1, max_size=6),
    st.one_of(st.none(), st.integers(min_value=30, max_value=120)),
)
def test_no_line_is_wider_than_the_terminal_and_none_moves_the_cursor(
    rows: list[tuple[str, str, str, str]], width: int | None
) -> None:
    lines, _ = lay_out(COLUMNS, rows, width, header=True)
    assert len(lines) == len(rows) + 1
    for line in lines:
        text = "  ".join(cell.text for cell in line)
        assert width is None or wide(text) <= max(width, 68)
        assert "\n" not in text
        assert "\x1b" not in text


def test_escapes_and_reordering_marks_become_visible() -> None:
    assert clean("a\x1b[2Jb\rc\u202ed\te\nf") == "a\ufffd[2Jb\ufffdc\ufffdd e f"


@given(st.text(), st.integers(min_value=1, max_value=40))
def test_a_cut_text_fits(text: str, width: int) -> None:
    assert wide(cut(text, width)) <= width


def test_styles_stay_with_their_cells() -> None:
    lines, _ = lay_out(COLUMNS, [("a", Cell("b", "red"), "c", "d")], None, header=False)
    assert lines[0][1].style == "red"
