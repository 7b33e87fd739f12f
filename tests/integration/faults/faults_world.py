"""Breaking a deployment off, and judging what is left: nothing that could have been reported may be lost, and the next one must work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.journal import Journal, JournalCorrupt
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.slots import Metadata
from lekiwi_deploy.content.manifests import read_manifest
from lekiwi_deploy.content.objects import ObjectFolder
from lekiwi_deploy.content.slots import is_laid_out, verify_slot
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.slots import SlotState

REQUIRED = os.environ.get("LEKIWI_REQUIRE_MACHINES") == "1"
PROGRAM = Path(__file__).with_name("deploying.py")
BEFORE, NEW, NEXT = "dep_0000000b", "dep_0000000c", "c"


@dataclass
class Told:
    """What a run told: in order, and how it ended (exit code; -9: killed)."""

    code: int
    lines: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return bool(self.lines) and self.lines[-1].startswith("done")

    @property
    def calls(self) -> int:
        """State-changing calls of a run that got through."""
        return int(self.lines[-1].split()[1])


class Deployer:
    """Runs deployments, each in a process of its own forked from one that has everything loaded."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, str(PROGRAM), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, root: Path, name: str = NEXT, **fault: object) -> Told:
        """Deploy `name` on `root`; `fault`: action, at, unsafe, failpoint (see deploying.py)."""
        self._count += 1
        out = self._folder / f"told-{self._count}"
        request = {"root": str(root), "name": name, "out": str(out), **fault}
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline() or "1000")
        assert code != 1000, "the program that deploys has ended: it says why on stderr"
        lines = out.read_text().splitlines() if out.exists() else []
        return Told(code, lines)

    def close(self) -> None:
        assert self._server.stdin is not None and self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(20)
        self._server.stdout.close()


@contextmanager
def deployer(folder: Path) -> Iterator[Deployer]:
    made = Deployer(folder)
    try:
        yield made
    finally:
        made.close()


def wrongs(root: Path, told: Told) -> list[str]:
    """What must not be, after a fault on a robot that ran `BEFORE` and was told to run `NEW`."""
    paths = Paths(root)
    found = []
    try:
        ledger = Journal(paths.journal).load()
    except JournalCorrupt as error:
        return [f"journal: {error.message}"]
    if ledger is None:
        return ["the journal is gone"]
    try:
        current = paths.current.readlink().name
    except OSError as error:
        return [f"current: {error}"]
    found += [f"current: {wrong}" for wrong in _slot(paths, current)]
    states = {str(id_): slot.state for id_, slot in ledger.slots.items()}
    for line in told.lines:
        word, _, what = line.partition(" ")
        if word == "generation" and ledger.generation < int(what):
            found.append(f"told generation {what}, the journal has {ledger.generation}")
        if word == "live" and what == NEW and ledger.live != NEW:
            found.append(f"told that {NEW} is live, the journal has {ledger.live}")
        if word == "good" and what == NEW and (states.get(NEW), current) != (SlotState.GOOD, NEW):
            found.append(f"told that {NEW} is good, it is {states.get(NEW)} and current is {current}")
    left = [path.name for path in paths.deployments.iterdir() if path.name.startswith(".tmp-")]
    if len(left) > 1:
        found.append(f"left behind: {left}")
    return found


def unsettled(root: Path) -> list[str]:
    """What must not be once the next deployment of `NEW` got through without faults."""
    paths = Paths(root)
    ledger = Journal(paths.journal).load()
    assert ledger is not None
    found = wrongs(root, Told(0, [f"live {NEW}", f"good {NEW}"]))
    for folder in paths.deployments.iterdir():
        found += [f"{folder.name}: {wrong}" for wrong in _slot(paths, folder.name)]
    kept = sorted(path.name for path in paths.deployments.iterdir())
    if kept != [BEFORE, NEW]:
        found.append(f"on the disk: {kept}")
    incoming = list((paths.objects / "incoming").iterdir())
    store = ObjectFolder(paths.objects)
    found += [
        f"object {one.name} is damaged"
        for one in store.stored()
        if not store.verify(one.digest, executable=one.executable)
    ]
    parts = list(paths.downloads.iterdir())
    return found + [f"left behind: {path.name}" for path in (*incoming, *parts)]


def settle(deploys: Deployer, root: Path, told: Told) -> list[str]:
    """What is wrong now, and after the next deployment."""
    found = wrongs(root, told)
    again = deploys.run(root)
    if not again.done:
        return [*found, f"the next deployment did not get through: {again}"]
    return found + unsettled(root)


def _slot(paths: Paths, name: str) -> list[str]:
    """What is wrong with a slot that should be whole."""
    folder = paths.deployments / name
    try:
        metadata = msgspec.json.decode((folder / "metadata.json").read_bytes(), type=Metadata)
        manifest = read_manifest((folder / "manifest.json").read_bytes(), digest=metadata.digest)
    except (OSError, msgspec.MsgspecError, LekiwiError) as error:
        return [f"{name}: {error}"]
    if not is_laid_out(folder):
        return [f"{name} has no tree"]
    wrong = verify_slot(folder, manifest, machine.platform().key, hashes=True)
    return [f"{name}: {entry.path} is not what it should be" for entry in wrong]


def spread(count: int, most: int, *, turn: int = 0) -> list[int]:
    """`most` of the points 1 … `count`, evenly, the same each time; `turn` shifts them."""
    if most >= count:
        return list(range(1, count + 1))
    step = count / most
    return sorted({1 + int((at + turn / 7 % 1) * step) % count for at in range(most)})


def copied(base: Path, folder: Path) -> Path:
    """Another robot like it (hard links stay hard links)."""
    folder.mkdir(parents=True, exist_ok=True)
    root = folder / "robot"
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(["cp", "-a", str(base), str(root)], check=True)
    return root


def need(tool: str) -> None:
    """Skip, or fail where machines are required, unless the program is there."""
    if shutil.which(tool) is None:
        (pytest.fail if REQUIRED else pytest.skip)(f"{tool} is not installed")
