"""Runs on a robot, as its agent would run the supervisor: one order a line, one answer a line (JSON)."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors.supervisor import Launch, instance_id
from lekiwi_deploy.agent.supervisors.systemd.journal import JournalTail
from lekiwi_deploy.agent.supervisors.systemd.supervisor import SystemdSupervisor
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.manifest import Needs

PATHS = Paths(Path("/"))


def launch_of(given: dict[str, Any]) -> Launch:
    service, fingerprint = given["service"], given.get("fingerprint", "a" * 64)
    slot = PATHS.deployments / given.get("deployment", "dep_aaaaaaaa")
    (slot / "code").mkdir(parents=True, exist_ok=True)
    state = PATHS.state / service
    environment = {"PATH": "/usr/bin:/bin", "LEKIWI_STATE": str(state), **given.get("environment", {})}
    if given.get("lock"):
        environment["LEKIWI_LOCK"] = str(PATHS.locks / given["lock"])
    return Launch(
        instance=instance_id(service, fingerprint),
        service=service,
        run=tuple(given["run"]),
        folder=slot / "code",
        slot=slot,
        state=state,
        environment=environment,
        deployment=given.get("deployment", "dep_aaaaaaaa"),
        fingerprint=fingerprint,
        log=PATHS.logs / "unused.log",
        family="",
        grace_s=given.get("grace_s", 5.0),
        port=given.get("port"),
        lock=PATHS.locks / given["lock"] if given.get("lock") else None,
        notify=given.get("notify", False),
        watchdog_s=given.get("watchdog_s"),
        needs=msgspec.convert(given.get("needs", {}), Needs),
    )


class Driver:
    def __init__(self) -> None:
        self.launches: dict[str, Launch] = {}
        self.notes: list[tuple[str, str]] = []
        self.event = asyncio.Event()
        self.supervisor = SystemdSupervisor(
            PATHS,
            relaunch=lambda seen: self.launches.get(seen.instance),
            changed=lambda instance: self.event.set(),
            note=lambda kind, text, seen: self.notes.append((kind, text)),
            randomness=random.random,
        )
        self.spool = Spool(PATHS.spool / "logs", limit=8 << 20, durable=False)
        self.tail = JournalTail(
            self.spool, appended=self.event.set, trouble=lambda text: self.notes.append(("trouble", text))
        )

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(msgspec.json.encode(self.supervisor.seen()))
        return found

    def lines(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = 0
        while (batch := self.spool.batch(after)) is not None:
            found += [json.loads(record)[1] for record in batch.records]
            after = batch.last
        return found

    async def until(self, expression: str, within_s: float) -> Any:
        async with asyncio.timeout(within_s):
            while True:
                self.event.clear()
                scope = {"seen": self.supervisor.seen(), "lines": self.lines, "notes": self.notes}
                try:
                    if eval(expression, scope):  # the test's own words
                        return self.seen()
                except KeyError:
                    pass
                await self.event.wait()

    async def do(self, order: dict[str, Any]) -> Any:
        supervisor = self.supervisor
        match order["do"]:
            case "start":
                launch = launch_of(order["launch"])
                self.launches[launch.instance] = launch
                self.tail.follow(launch.instance, launch.service, launch.log, launch.deployment)
                supervisor.start(launch)
                return launch.instance
            case "stop":
                begun = time.monotonic()
                await supervisor.stop(order["instance"], order.get("grace_s"))
                return time.monotonic() - begun
            case "forget":
                self.launches.pop(order["instance"], None)
            case "until":
                return await self.until(order["expression"], order["within_s"])
            case "seen":
                return self.seen()
            case "notes":
                return self.notes
            case "lines":
                return self.lines()
            case "last_lines":
                return self.tail.last_lines(order["instance"])
            case "hold_down":
                supervisor.hold_down(order["instance"])
            case "pause":
                supervisor.pause(order["instance"])
            case "resume":
                supervisor.resume(order["instance"])
            case "run":
                return await supervisor.run(launch_of(order["launch"]), tuple(order["command"]), order["timeout_s"])
            case "keep_for_boot":
                await supervisor.keep_for_boot(tuple(launch_of(each) for each in order["launches"]))
            case "stop_all":
                await supervisor.stop_all()
            case other:
                raise AssertionError(other)
        return None


async def main() -> None:
    PATHS.make()
    driver = Driver()
    await driver.supervisor.adopt()
    print(json.dumps({"answer": driver.seen()}), flush=True)
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            answer: dict[str, Any] = {"answer": await driver.do(json.loads(line))}
        except (LekiwiError, OSError, TimeoutError) as error:
            answer = {"error": f"{type(error).__name__}: {error}", "seen": driver.seen(), "notes": driver.notes}
        print(json.dumps(answer), flush=True)
    driver.tail.close()
    driver.supervisor.close()


if __name__ == "__main__":
    asyncio.run(main())
