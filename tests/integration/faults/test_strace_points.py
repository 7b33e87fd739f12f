"""The same from below: the kernel itself kills the agent at its N-th call of a kind, or refuses it. Also what C code calls is struck here."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from faults_world import PROGRAM, Deployer, Told, copied, need, settle, spread

KINDS = (
    "write",
    "fsync,fdatasync,syncfs",
    "?rename,renameat,renameat2",
    "?link,linkat",
    "?symlink,symlinkat",
    "?unlink,unlinkat,?rmdir",
    "?mkdir,mkdirat",
    "openat",
)
"""Calls that change the disk, of whatever names this processor's C library uses; `?`: not every processor has it."""
STRIKES = ("signal=SIGKILL", "error=ENOSPC", "error=EIO", "error=EROFS")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")


def straced(root: Path, kind: str, log: Path, *more: str) -> Told:
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={kind}", *more]
    done = subprocess.run(
        [*command, sys.executable, str(PROGRAM), "deploy", str(root), "c"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return Told(done.returncode, done.stdout.splitlines())


def points_of(root: Path, kind: str, log: Path) -> list[int]:
    """How often, counted as strace does, each call of the kind was made for something of the robot's, in a run without faults."""
    told = straced(root, kind, log, *(("-y",) if kind in ("write", "fsync,fdatasync,syncfs") else ()))
    assert told.code == 0, told
    counts: dict[tuple[str, str], int] = defaultdict(int)
    found = set()
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, call, rest = match.groups()
        counts[thread, call] += 1
        if str(root) in rest and (call != "openat" or "O_CREAT" in rest or "O_WRONLY" in rest):
            found.add(counts[thread, call])
    return sorted(found)


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", KINDS)
def test_the_kernel_strikes_at_every_call(deploys: Deployer, base: Path, tmp_path: Path, soak: bool, kind: str) -> None:
    need("strace")
    log = tmp_path / "strace.log"
    points = points_of(copied(base, tmp_path), kind, log)
    assert points, log.read_text()[:2000]
    violations: dict[str, list[str]] = {}
    runs = 0
    missed: list[str] = []
    turn = KINDS.index(kind)
    for number, strike in enumerate(STRIKES if soak else (STRIKES[0], STRIKES[1 + turn % 3])):
        chosen = points if soak else [points[at - 1] for at in spread(len(points), 1, turn=3 * number + turn)]
        for at in chosen:
            root = copied(base, tmp_path)
            told = straced(root, kind, log, "-e", f"inject={kind}:{strike}:when={at}")
            runs += 1
            if told.code == 0 and "(INJECTED)" not in log.read_text(errors="replace"):
                missed.append(f"{strike} at {at}")
            found = settle(deploys, root, told)
            if found:
                violations[f"{strike} at {at}"] = found
    print(f"strace {kind}: {runs} runs at {len(points)} points, {len(missed)} missed, {len(violations)} violations")
    assert not violations
    assert len(missed) <= 0.2 * runs, missed
