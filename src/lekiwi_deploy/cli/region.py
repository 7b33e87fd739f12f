"""A few lines at the bottom of the terminal that are redrawn while something goes on above them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.cli.table import Cell, cut, wide

Lines = Sequence[Sequence[str | Cell]]

_EVERY_S = 0.1
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Region:
    """`render(seconds since it began)` gives the lines. Where nothing can be redrawn, only what `say` says appears."""

    def __init__(
        self, output: Output, render: Callable[[float], Lines], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._output = output
        self._render = render
        self._monotonic = monotonic
        self._began = monotonic()
        self._drawn = 0
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Region:
        if self._output.live:
            self._output.draw("\x1b[?25l")
            self._thread = threading.Thread(target=self._redraw, name="lekiwi-region", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            with self._lock:
                self._output.draw(self._erase() + "\x1b[?25h")
                self._drawn = 0

    def say(self, *cells: str | Cell) -> None:
        """A line that stays, above the region."""
        with self._lock:
            if self._thread is None or self._over.is_set():
                self._output.say(*cells)
            else:
                self._output.draw(self._erase() + self._output.styled(cells) + "\n" + self._lines())

    def _redraw(self) -> None:
        while not self._over.wait(_EVERY_S):
            with self._lock:
                if not self._over.is_set():
                    self._output.draw(self._erase() + self._lines())

    def _erase(self) -> str:
        return f"\r\x1b[{self._drawn}A\x1b[J" if self._drawn else "\r\x1b[J"

    def _lines(self) -> str:
        width = self._output.columns - 1
        lines = list(self._render(self._monotonic() - self._began))[: max(1, self._output.rows - 2)]
        self._drawn = len(lines)
        return "".join(self._output.styled(_fitted(line, width)) + "\n" for line in lines)


def _fitted(line: Sequence[str | Cell], width: int) -> list[Cell]:
    """A line may not wrap: the next erasing would leave a piece of it."""
    fitted: list[Cell] = []
    for cell in line:
        cell = Cell(cell) if isinstance(cell, str) else cell
        text = cut(cell.text, max(0, width)) if width > 0 else ""
        fitted.append(Cell(text, cell.style))
        width -= wide(text)
    return fitted


def bar(done: float, total: float, width: int = 24) -> str:
    """`██████░░░░`: how far `done` is of `total`."""
    share = min(1.0, done / total) if total > 0 else 1.0
    full = round(share * width)
    return "█" * full + "░" * (width - full)


def spin(seconds: float) -> str:
    """The sign that something goes on."""
    return SPINNER[int(seconds / _EVERY_S) % len(SPINNER)]
