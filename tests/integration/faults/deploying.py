"""A whole deployment on a robot's root folder, by the agent's own parts: fetched, laid out, switched to, good; then older ones pruned.

Without services and without a link, so that one takes a tenth of a second and can be broken off anywhere. Programs:
`deploying.py deploy ROOT NAME` does one deployment and writes a line to stdout for each thing that the agent could have reported;
`deploying.py serve` does so for each JSON line on stdin, in a child of its own, with a fault that strikes at one call.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from blake3 import blake3

from lekiwi_deploy.agent import failpoints, machine
from lekiwi_deploy.agent.config import AgentConfig, write_config
from lekiwi_deploy.agent.lock import agent_lock
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.reconcile import reconcile
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.start import start
from lekiwi_deploy.content import durable
from lekiwi_deploy.content.manifests import encode_manifest, manifest_digest
from lekiwi_deploy.content.pack import make_pack, pack_objects
from lekiwi_deploy.robot.ledger import Ledger
from lekiwi_deploy.robot.slots import SlotState
from lekiwi_deploy.wire.ids import DeploymentId, EnvironmentName, ObjectDigest, ProjectName, RobotId
from lekiwi_deploy.wire.link import DeploymentRef, Desired, TrialPolicy
from lekiwi_deploy.wire.manifest import Conditions, FileEntry, FileKind, Manifest

WITHIN_S = 20.0
KEPT = 2
"""Deployments that a robot retains here, so that the third one prunes the first."""
ANY = Conditions(disk_free=None, clock=False)


class Answer:
    """What the shelf gives for one question."""

    status = 200

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length: int | None = len(data)

    def pieces(self) -> Iterator[bytes]:
        yield from (self._data[at : at + 700] for at in range(0, len(self._data), 700))

    def close(self) -> None:
        pass


class Shelf:
    """The server's content of four releases, and the robot's `Content`."""

    def __init__(self) -> None:
        self.refs: dict[str, DeploymentRef] = {}
        self.manifests: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        for number, name in enumerate("abcd"):
            files = {f"code/{name}{at}.py": f"print({name!r} * {at + 1})\n".encode() * 40 for at in range(3)}
            files |= {
                "code/same.py": b"shared = True\n" * 200,
                "code/pkg/deep/data.bin": bytes(range(256)) * (8 + number),
            }
            files |= {"code/run.sh": f"#!/bin/sh\necho {name}\n".encode(), "code/empty": b"", "code/link": b"same.py"}
            kinds = {"code/run.sh": FileKind.EXECUTABLE, "code/link": FileKind.SYMLINK}
            self._release(name, number, files, kinds)

    def _release(self, name: str, number: int, files: dict[str, bytes], kinds: dict[str, FileKind]) -> None:
        entries = []
        for path, data in sorted(files.items()):
            digest = ObjectDigest(blake3(data).hexdigest())
            self.objects[digest] = data
            entries.append(FileEntry(path, kinds.get(path, FileKind.FILE), len(data), digest))
        stored = encode_manifest(
            Manifest(project="kiwi", stack="plain", services=(), files=tuple(entries), conditions=ANY)
        )
        digest = manifest_digest(stored)
        self.manifests[digest] = stored
        self.refs[name] = DeploymentRef(
            id=DeploymentId(f"dep_0000000{name}"),
            digest=digest,
            manifest_size=len(stored),
            version=f"v0.{number}.0",
            created_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number),
        )

    def ask(self, path: str, *, ticket: str | None, limit: int, start: int = 0, post: bytes | None = None) -> Answer:
        """See `agent.net.network.Content`."""
        if post is not None:
            digests = tuple(ObjectDigest(digest) for digest in msgspec.json.decode(post))
            return Answer(b"".join(pack_objects(digests, self.objects.__getitem__)))
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        old = self.manifests[query["from"][0]] if "from" in query else None
        new = self.manifests[parts.path.rpartition("/")[2]]
        answer = Answer(b"".join(make_pack(old, new, query["platform"][0], self.objects.__getitem__))[start:])
        answer.status = 206 if start else 200
        return answer


def prepare(root: Path) -> Paths:
    """A robot that joined and has nothing yet."""
    paths = Paths(root)
    paths.make()
    config = AgentConfig(
        server="http://127.0.0.1:1",
        server_id="srv_test",
        robot=RobotId("kiwi-001"),
        project=ProjectName("kiwi"),
        environment=EnvironmentName("production"),
        max_deployments=KEPT,
    )
    write_config(paths, config)
    return paths


async def deploy(paths: Paths, name: str, shelf: Shelf, tell: Callable[[str], None]) -> None:
    """Until `name` is good and nothing is left to do. Raises `TimeoutError`."""
    ref = shelf.refs[name]
    with agent_lock(paths):
        robot = await start(paths, randomness=lambda: 0.0)
        robot.fetches.use(shelf)
        _listen(robot, tell)
        loop = asyncio.create_task(reconcile(robot))
        generation = robot.ledger.generation + 1
        robot.take(
            Desired(
                epoch=1,
                generation=generation,
                environment=EnvironmentName("production"),
                deployment=ref,
                policy=TrialPolicy(trial_s=0.0),
                ticket="any",
            )
        )
        try:
            async with asyncio.timeout(WITHIN_S):
                while not _is_done(robot, ref.id):
                    await asyncio.wait([loop, robot.next_turn()], timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                    if loop.done():
                        loop.result()
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)
            await robot.fetches.close()
            robot.history.flush()
            robot.services.close()


def _is_done(robot: Robot, deployment: DeploymentId) -> bool:
    ledger = robot.ledger
    here = sorted(id_ for id_, slot in ledger.slots.items() if slot.state is not SlotState.ABSENT)
    return (
        ledger.live == deployment
        and ledger.trial is None
        and ledger.slots[deployment].state is SlotState.GOOD
        and robot.slots.current() == deployment
        and len(here) <= KEPT
        and not robot.collect_due
        and not robot.content_lock.locked()
    )


def _listen(robot: Robot, tell: Callable[[str], None]) -> None:
    """Tell what is in the ledger once it is on disk: from then on the agent may have reported it."""
    remember = robot.remember

    def remembered(ledger: Ledger) -> None:
        remember(ledger)
        tell(f"generation {ledger.generation}")
        if ledger.live is not None:
            tell(f"live {ledger.live}")
        for id_, slot in ledger.slots.items():
            if slot.state is not SlotState.ABSENT:
                tell(f"{slot.state} {id_}")

    robot.remember = remembered  # type: ignore[method-assign]


# --- faults


STATE_CHANGING = (
    "fsync",
    "rename",
    "replace",
    "symlink",
    "link",
    "unlink",
    "mkdir",
    "rmdir",
    "open",
    "write",
    "truncate",
)


class Fault:
    """Strikes at the `at`-th state-changing call of this process (counted from 1): `kill` dies there, an errno's name makes the call
    fail once, `none` only counts. `unsafe`: every flush is left out, which a test has to notice."""

    def __init__(self, action: str, at: int, *, unsafe: bool = False) -> None:
        self.action, self.at, self.unsafe = action, at, unsafe
        self.seen = 0
        self.last = ""

    def install(self) -> None:
        for name in STATE_CHANGING:
            setattr(os, name, self._around(name, getattr(os, name)))
        durable._sync_file_system = self._around("fsync", durable._sync_file_system)

    def _around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if name != "open" or arguments[1] & os.O_CREAT:
                self.seen += 1
                if self.seen == self.at:
                    self._strike(name)
            if name == "fsync" and self.unsafe:
                return True
            return real(*arguments, **more)

        return call

    def _strike(self, name: str) -> None:
        self.last = name
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action != "none":
            code = getattr(errno, self.action)
            raise OSError(code, os.strerror(code), f"at the {self.at}th call, {name}")


def _run_one(request: dict[str, Any], shelf: Shelf) -> None:
    """In a child: deploy with the fault, telling on `request["out"]`; what it took is the last line."""
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    real_write = os.write
    fault = Fault(request.get("action", "none"), request.get("at", 0), unsafe=request.get("unsafe", False))
    failpoints.arm(request.get("failpoint"))
    root = Path(request["root"])
    paths = Paths(root) if (root / "etc/lekiwi/agent.json").exists() else prepare(root)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    fault.install()
    asyncio.run(deploy(paths, request["name"], shelf, lambda text: real_write(out, text.encode() + b"\n") and None))
    real_write(out, f"done {fault.seen} {fault.last}\n".encode())


def _serve() -> None:
    shelf = Shelf()
    machine.platform()
    ctypes.CDLL(None)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 70
            with contextlib.suppress(BaseException):
                _run_one(request, shelf)
                code = 0
            os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def main() -> None:
    if sys.argv[1] == "serve":
        _serve()
        return
    root = Path(sys.argv[2])
    paths = Paths(root) if (root / "etc/lekiwi/agent.json").exists() else prepare(root)
    asyncio.run(deploy(paths, sys.argv[3], Shelf(), lambda text: print(text, flush=True)))


if __name__ == "__main__":
    main()
