"""Running the programs that machines are made with, and saying what they said when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class MachineFailed(AssertionError):
    """A machine could not be made, booted or asked; the message says which program said what."""


def call(
    *argv: str | Path,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    within_s: float = 60.0,
) -> str:
    """What the program wrote to stdout. Raises `MachineFailed` with its words when its exit code is not 0."""
    done = subprocess.run(
        [str(part) for part in argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=within_s,
        check=False,
        cwd=folder,
        env=None if environment is None else {**os.environ, **environment},
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise MachineFailed(f"{' '.join(map(str, argv))} exited {done.returncode}: {said}")
    return done.stdout


def tried(*argv: str | Path) -> bool:
    """Whether the program ended with 0; its words are dropped."""
    return subprocess.run([str(part) for part in argv], check=False, capture_output=True).returncode == 0


def share(folder: Path) -> None:
    """What is unmounted below `folder` later is so everywhere: else every machine that boots meanwhile, of this test or of another,
    would hold on to its copy of the mount."""
    call("mount", "--bind", folder, folder)
    call("mount", "--make-private", folder)
    call("mount", "--make-shared", folder)


def children(pid: int) -> Sequence[int]:
    """Ids of the processes that `pid`'s main thread started."""
    try:
        return tuple(int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return ()


def is_first(pid: int) -> bool:
    """Whether that process is the first one of a process namespace."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return any(
        line.startswith("NSpid:") and len(line.split()) > 2 and line.endswith("\t1") for line in status.splitlines()
    )
