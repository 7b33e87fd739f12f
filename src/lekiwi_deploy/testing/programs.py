"""Child processes: started with their output in a file, ended by their process id, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.testing.waiting import NeverHappened, eventually

_LEFT_OUT = ("LEKIWI_", "GIT_", "XDG_", "PYTHON", "PYTEST_", "VIRTUAL_ENV", "HOME")


@dataclass(frozen=True)
class Installation:
    """Where the programs of one virtual environment are."""

    bin: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.bin / "python")

    @property
    def lekiwi(self) -> str:
        """The people's program."""
        return str(self.bin / "lekiwi")

    @property
    def agent(self) -> str:
        """The robot's program."""
        return str(self.bin / "lekiwi-agent")


HERE = Installation(Path(sys.executable).parent)
"""The installation that runs this."""


def clean_environment(**more: str) -> dict[str, str]:
    """This process's variables without those that configure LeKiwi, git or Python (no token gets through), and `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    return kept | more


class Program:
    """One child in a session of its own, so that Ctrl-C reaches only its parent, which then ends it in order."""

    def __init__(
        self, argv: Sequence[str], *, environment: Mapping[str, str], output: Path, folder: Path | None = None
    ) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        self.name = f"{Path(argv[0]).name} {' '.join(argv[1:])}"
        self.output = output
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                list(argv),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative when a signal ended it."""
        return self._process.poll()

    def text(self) -> str:
        """All that it (and those before it with the same file) wrote."""
        return self.output.read_text(errors="replace")

    def last_lines(self, count: int = 15) -> str:
        """The end of what it wrote, for a message."""
        return "\n".join(self.text().splitlines()[-count:])

    def wait(self, within_s: float = 20.0) -> int:
        """Its exit code, once it ended by itself."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise NeverHappened(f"{self.name} did not end within {within_s:g} s:\n{self.last_lines()}") from None

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self.exit_code is None:
            self._process.kill()
        self._process.wait()

    def end(self, grace_s: float = 15.0) -> int:
        """SIGTERM; SIGKILL when it is still there after `grace_s`. Gives the exit code."""
        if self.exit_code is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()


def processes_below(folder: Path) -> list[int]:
    """Ids of the processes that work in `folder` or below it (Linux; elsewhere none are found)."""
    top = str(folder.resolve())
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            cwd = str((entry / "cwd").readlink()).removesuffix(" (deleted)")
        except OSError:
            continue  # ended meanwhile, or another user's
        if cwd == top or cwd.startswith(top + "/"):
            found.append(int(entry.name))
    return found


def processes_named(text: str) -> list[int]:
    """Ids of the processes whose command line contains `text` (Linux): for those whose folder is hidden behind a sandbox."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (entry / "cmdline").read_bytes().replace(b"\0", b" "):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def end_all_below(folder: Path) -> None:
    """SIGKILL what still works below `folder`: services that outlived their agent."""

    def none_left() -> bool:
        for pid in (left := processes_below(folder)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    eventually(f"processes below {folder} end", none_left)
