"""Rows of text in columns that line up, in the width there is. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

GAP = "  "


@dataclass(frozen=True)
class Cell:
    """Text with a style (see `output.STYLES`; "" for none)."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Column:
    """`drop`: 0 stays always; of the others the highest goes first when the terminal is too narrow."""

    title: str
    drop: int = 0


Row = Sequence[str | Cell]

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069]|\n|\t")


def clean(text: str) -> str:
    """`text` for one line of a terminal: what would move the cursor, colour or reorder text becomes visible or goes."""
    return _CONTROL.sub(lambda found: " " if found[0] in "\n\t" else "\N{REPLACEMENT CHARACTER}", text)


def wide(text: str) -> int:
    """How many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) or char == "\ufe0f" else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, its end replaced by … when it is longer."""
    if wide(text) <= width:
        return text
    taken = ""
    for char in text:
        if wide(taken + char) > width - 1:
            break
        taken += char
    return taken + "…"


def lay_out(
    columns: Sequence[Column], rows: Sequence[Row], width: int | None, *, header: bool
) -> tuple[list[list[Cell]], list[str]]:
    """Padded cells, with `header` the titles first, and the titles of columns left out to fit into `width` (None: no limit).

    A column that is empty in every row is left out silently.
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    cells = [[Cell(clean(cell.text), cell.style) for cell in row] for row in cells]
    shown = [i for i in range(len(columns)) if not rows or any(row[i].text for row in cells)]
    widths = [
        max([wide(columns[i].title) if header else 0, *(wide(row[i].text) for row in cells)])
        for i in range(len(columns))
    ]
    left_out: list[str] = []

    def total() -> int:
        return sum(widths[i] for i in shown) + len(GAP) * (len(shown) - 1)

    while width is not None and total() > width:
        victim = max(shown, key=lambda i: (columns[i].drop, i))
        if not columns[victim].drop:
            break
        shown.remove(victim)
        left_out.insert(0, columns[victim].title)
    if width is not None and shown and total() > width:
        last = shown[-1]
        widths[last] = max(8, widths[last] - (total() - width))

    def padded(row: Sequence[Cell]) -> list[Cell]:
        line = [Cell(cut(row[i].text, widths[i]), row[i].style) for i in shown]
        pads = [widths[i] - wide(cell.text) for i, cell in zip(shown, line, strict=True)]
        full = [Cell(cell.text + " " * pad, cell.style) for cell, pad in zip(line, pads, strict=True)]
        while full and not full[-1].text.strip():
            full.pop()
        if full:
            full[-1] = Cell(full[-1].text.rstrip(), full[-1].style)
        return full

    titles = [padded([Cell(column.title, "dim") for column in columns])] if header else []
    return [*titles, *(padded(row) for row in cells)], left_out
