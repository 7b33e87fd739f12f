"""Reading what lies on the disk again, slowly, so that damage is found and healed before it is started.

After a boot first the trees of what is live and of what would be gone back to; then, over a day, every object and every tree. An object
that is not what its digest says is put aside, and the trees with the damage in them do not count as laid out any more: the reconcile
loop lays them out anew, or fetches what is missing. What runs goes on running.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.observe import fallback_of
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.content.objects import StoredObject
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.manifest import FileEntry

CALM_S = 20.0
"""How long after its start the agent lets the machine settle before it reads much."""
EVERY_S = 60.0
PASS_S = 24 * 3600.0
"""In what time everything is read once, at most, and how long the scrubber rests then."""
LEAST_BYTES = 4 << 20
"""How much is read at once, at least: while it is, nothing can be laid out."""
_AT_BOOT_BYTES = 32 << 20
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "armv7l": 314, "armv6l": 314, "i686": 289, "riscv64": 30}
_IDLE = 3 << 13
"""IOPRIO_CLASS_IDLE: reads wait for everybody else's."""
T = TypeVar("T")


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """scrub.json: the boot that was looked at, the last object that was read in this pass, and how many bytes the pass has in all."""

    boot: str = ""
    cursor: str = ""
    total: int = 0


class Scrubber:
    """One per agent. `LEKIWI_SCRUB_S`, for tests: seconds in the place of `CALM_S` and `EVERY_S`."""

    def __init__(self, robot: Robot) -> None:
        hurry = os.environ.get("LEKIWI_SCRUB_S")
        self._robot = robot
        self._calm_s = CALM_S if hurry is None else float(hurry)
        self._every_s = EVERY_S if hurry is None else float(hurry)
        self._rest_s = PASS_S if hurry is None else float(hurry)
        self._path = robot.paths.agent / "scrub.json"
        self._state = self._load()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scrub", initializer=_give_way)
        self._stopped = threading.Event()

    async def run(self) -> None:
        """Until cancelled. What goes wrong with one object or slot does not end it."""
        try:
            await asyncio.sleep(self._calm_s)
            await self.after_boot()
            through = False
            while True:
                await asyncio.sleep(self._rest_s if through else self._every_s)
                try:
                    through = await self.some()
                except (OSError, LekiwiError) as error:
                    self._robot.history.trouble(f"the disk could not be read again: {error}")
        finally:
            self._stopped.set()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def after_boot(self) -> None:
        """Once per boot of the machine: what the trees of the live deployment and of its fallback really hold."""
        boot = machine.boot_id()
        if self._state.boot == boot:
            return
        for deployment in dict.fromkeys((self._robot.ledger.live, fallback_of(self._robot))):
            if deployment is not None:
                await self._read_tree(deployment, own=False)
        self._save(msgspec.structs.replace(self._state, boot=boot))

    async def some(self) -> bool:
        """The next part of the pass: some objects, and after the last one the trees. Whether that was the end of it."""
        state = self._state
        if not state.cursor:
            total = await self._in_thread(lambda: sum(stored.size for stored in self._robot.slots.objects.stored()))
            state = msgspec.structs.replace(state, total=total)
        budget = max(LEAST_BYTES, int(state.total * self._every_s / PASS_S))
        last, damaged = await self._in_thread(lambda: self._read_objects(state.cursor, budget))
        for stored in damaged:
            self._tell_object(stored)
        if not last:
            for deployment in sorted(self._robot.slots.laid_out):
                await self._read_tree(deployment, own=True)
        self._save(msgspec.structs.replace(state, cursor=last))
        return not last

    def _read_objects(self, after: str, budget: int) -> tuple[str, list[tuple[StoredObject, str]]]:
        """Where to go on ("": through), and what was damaged, with what became of it."""
        damaged, slots = [], self._robot.slots
        for stored in slots.objects.stored(after):
            budget -= stored.size
            with contextlib.suppress(FileNotFoundError):
                _forget_cached(slots.objects.path_of(stored.digest, executable=stored.executable))
            if not slots.objects.verify(stored.digest, executable=stored.executable):
                damage = slots.condemn(stored.digest, executable=stored.executable)
                trees = f", also in the tree of {', '.join(damage.trees)}" if damage.trees else ""
                healed = "was found whole in a tree" if damage.healed else "is to be fetched again"
                damaged.append((stored, f"{trees}; it {healed}"))
            if budget <= 0 or self._stopped.is_set():
                return stored.name, damaged
        return "", damaged

    async def _read_tree(self, deployment: DeploymentId, *, own: bool) -> None:
        slots = self._robot.slots
        if deployment not in slots.laid_out:
            return
        try:
            for part in _parts(slots.entries(deployment), _AT_BOOT_BYTES):
                if not await self._in_thread(lambda part=part: slots.read_again(deployment, part, own=own)):  # type: ignore[misc]
                    break
            else:
                return
        except (OSError, LekiwiError) as error:
            self._robot.history.trouble(f"{deployment} could not be read again: {error}")
            return
        what = "is laid out again" if deployment in slots.present else "what is missing is fetched again"
        self._robot.history.note("damaged", f"files of {deployment} are damaged on this disk; it {what}", deployment)
        self._robot.nudge()

    def _tell_object(self, found: tuple[StoredObject, str]) -> None:
        stored, fate = found
        self._robot.history.note("damaged", f"object {stored.digest[:12]}… is damaged on this disk{fate}")
        self._robot.nudge()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        async with self._robot.content_lock:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _load(self) -> _State:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_State)
        except (OSError, msgspec.MsgspecError):
            return _State()  # lost, it costs one more reading

    def _save(self, state: _State) -> None:
        self._state = state
        temporary = self._path.with_suffix(".tmp")
        with contextlib.suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(state))
            temporary.replace(self._path)


def _parts(entries: Sequence[FileEntry], most: int) -> Iterator[list[FileEntry]]:
    part: list[FileEntry] = []
    size = 0
    for entry in entries:
        part.append(entry)
        size += entry.size
        if size >= most:
            yield part
            part, size = [], 0
    if part:
        yield part


def _forget_cached(path: str) -> None:
    """Let the next read of it come from the disk, unless somebody has it mapped."""
    if not hasattr(os, "posix_fadvise"):
        return
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        pass  # it is only advice
    finally:
        os.close(fd)


def _give_way() -> None:
    """This thread computes and reads only when nobody else wants to."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)
