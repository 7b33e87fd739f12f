"""The only place that prints. Data on stdout, everything else on stderr; `--json` gives one object, or one a line for streams.

Colour only on a terminal, and never when NO_COLOR, --no-color or TERM=dumb says so. What others wrote (log lines, commit
messages, robots' errors) cannot move the cursor: every text goes through `table.clean`.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, TextIO

from lekiwi_deploy.cli.table import GAP, Cell, Column, Row, clean, lay_out

if TYPE_CHECKING:
    from lekiwi_deploy.errors import LekiwiError

STYLES: Mapping[str, str] = MappingProxyType(
    {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
)


class Output:
    """What one invocation writes, and how."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self.json = False
        self.quiet = False
        self.verbose = 0
        self.no_color = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        for stream in (self._out, self._err):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="replace")  # a terminal that lacks a sign must not end the program

    @property
    def live(self) -> bool:
        """Whether lines on stderr may be redrawn: a terminal that a person looks at."""
        return self._err.isatty() and not self.quiet and os.environ.get("TERM") != "dumb"

    @property
    def redraws(self) -> bool:
        """Whether what was printed on stdout may be replaced by something newer."""
        return self._out.isatty() and not self.json and os.environ.get("TERM") != "dumb"

    @property
    def columns(self) -> int:
        """Width of the terminal."""
        return shutil.get_terminal_size().columns

    @property
    def rows(self) -> int:
        """Height of the terminal."""
        return shutil.get_terminal_size().lines

    # -- data

    def line(self, *cells: str | Cell) -> None:
        """A line of data for a person: on stdout, not with --json."""
        if not self.json:
            self._write(self._out, self._joined(self._out, cells))

    def raw(self, text: str) -> None:
        """Data as it is: a script, a diff, the stored bytes of something."""
        self._write(self._out, text, end="")

    def object(self, value: object) -> None:
        """One JSON object on a line of stdout, with --json only."""
        if self.json:
            from lekiwi_deploy.wire.encoding import encode

            self._write(self._out, encode(value).decode())

    def table(self, columns: Sequence[Column], rows: Sequence[Row], *, indent: str = "") -> None:
        """Rows on stdout, not with --json. The header goes to stderr, and only where both are seen together."""
        if self.json:
            return
        terminal = self._out.isatty()
        header = terminal and bool(rows) and not self.quiet
        lines, left_out = lay_out(columns, rows, self.columns - len(indent) if terminal else None, header=header)
        if header:
            self._say(indent, self._joined(self._err, lines.pop(0), GAP))
        for line in lines:
            self._write(self._out, indent + self._joined(self._out, line, GAP))
        if left_out:
            self.say(Cell(f"{indent}({', '.join(left_out)}: widen the terminal or use --json)", "dim"))

    def fields(self, pairs: Sequence[tuple[str, str | Cell]]) -> None:
        """`name  value` lines on stdout, not with --json; those without a value are left out."""
        shown = [(n, v if isinstance(v, Cell) else Cell(v)) for n, v in pairs if (v.text if isinstance(v, Cell) else v)]
        longest = max((10, *(len(name) for name, _ in shown)))
        for name, value in shown:
            self.line(Cell(f"{name:<{longest}}{GAP}", "dim"), value)

    def clear_screen(self) -> None:
        """For `redraws`: the next line is the terminal's first."""
        self._write(self._out, "\x1b[H\x1b[2J", end="")

    def split(self, label: str, value: str) -> None:
        """`label` on stderr and `value`, on its own the data, on stdout: one line to whoever sees both."""
        if self.json:
            self.say(f"{label}{value}")
        elif self.quiet:
            self._write(self._out, value)
        elif self._out.isatty() and self._err.isatty():
            self._write(self._err, label, end="")
            self._write(self._out, value)
        else:
            self._write(self._err, label + value)
            self._write(self._out, value)

    # -- everything else

    def say(self, *cells: str | Cell) -> None:
        """A remark on stderr; not with -q."""
        self._say("", self._joined(self._err, cells))

    def detail(self, text: str) -> None:
        """A remark for -v."""
        if self.verbose and not self.quiet:
            self._write(self._err, self._joined(self._err, (Cell(text, "dim"),)))

    def warn(self, text: str) -> None:
        """What a person should not miss: on stderr, also with -q."""
        self._write(self._err, self._joined(self._err, (Cell("Warning: ", "yellow"), text)))

    def error(self, error: LekiwiError) -> None:
        """What went wrong and what to do; with --json as an `ErrorBody` on stdout."""
        if self.json:
            from lekiwi_deploy.wire.api import ErrorBody

            self.object(ErrorBody(code=error.code, message=error.message, next=error.next, details=dict(error.details)))
            return
        lines = error.message.splitlines() or [""]
        if self._err.isatty():
            import textwrap

            lines = [part for line in lines for part in textwrap.wrap(line, max(20, self.columns - 8)) or [""]]
        first, *more = lines
        self._write(self._err, self._joined(self._err, (Cell("Error: ", "red"), first)))
        for line in more:
            self._write(self._err, self._joined(self._err, ("       ", line)))
        for candidate in _candidates(error.details.get("candidates")):
            self._write(self._err, self._joined(self._err, ("  ", candidate)))
        for command in error.next:
            self._write(self._err, self._joined(self._err, (Cell("  → ", "dim"), Cell(command, "cyan"))))

    def draw(self, text: str) -> None:
        """Control sequences and whole lines for a live region on stderr."""
        self._write(self._err, text, end="")

    def styled(self, cells: Iterable[str | Cell]) -> str:
        """Cells as one string for stderr."""
        return self._joined(self._err, cells)

    def close(self) -> None:
        """Everything out, or `BrokenPipeError` now rather than at exit."""
        self._out.flush()
        self._err.flush()

    def _say(self, indent: str, text: str) -> None:
        if not self.quiet:
            self._write(self._err, indent + text)

    def _joined(self, stream: TextIO, cells: Iterable[str | Cell], gap: str = "") -> str:
        colour = stream.isatty() and not self.no_color
        parts = []
        for cell in cells:
            text, style = (cell, "") if isinstance(cell, str) else (cell.text, cell.style)
            text = clean(text)
            parts.append(f"\x1b[{STYLES[style]}m{text}\x1b[0m" if colour and style else text)
        return gap.join(parts)

    def _write(self, stream: TextIO, text: str, end: str = "\n") -> None:
        stream.write(text + end)
        stream.flush()


def _candidates(value: object) -> list[str]:
    """`details["candidates"]` of an `Ambiguous`, a line each."""
    if not isinstance(value, list | tuple):
        return []
    return [
        "  ".join(str(part) for part in item.values() if part is not None) if isinstance(item, dict) else str(item)
        for item in value[:20]
    ]
