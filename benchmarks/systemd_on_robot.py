"""Runs on a robot with systemd: starts, stops and commands of the supervisor, beside those of a unit without walls. JSON to stdout."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch, instance_id
from lekiwi_deploy.agent.supervisors.systemd.facts import Facts, updated
from lekiwi_deploy.agent.supervisors.systemd.manager import Manager, Properties
from lekiwi_deploy.agent.supervisors.systemd.supervisor import SystemdSupervisor
from lekiwi_deploy.wire.ids import DeploymentId

PATHS = Paths(Path("/"))
READY = (
    "import os, socket, time; out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
    "out.sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); time.sleep(1000)"
)
RUN = ("/usr/bin/python3", "-SEc", READY)


def launch_of(service: str) -> Launch:
    """A service that says at once that it is ready."""
    slot = PATHS.deployments / "dep_benchmrk"
    (slot / "code").mkdir(parents=True, exist_ok=True)
    return Launch(
        instance=instance_id(service, "a" * 64),
        service=service,
        run=RUN,
        folder=slot / "code",
        slot=slot,
        state=PATHS.state / service,
        environment={"PATH": "/usr/bin:/bin"},
        deployment=DeploymentId("dep_benchmrk"),
        fingerprint="a" * 64,
        log=PATHS.logs / "unused.log",
        family="",
        grace_s=5.0,
        notify=True,
    )


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    begun = time.perf_counter()
    await work()
    return (time.perf_counter() - begun) * 1000


async def supervised(rounds: int) -> dict[str, float]:
    """Medians in ms: until it is ready, until it is gone, a command; and our own processor time for a start and a stop."""
    news = asyncio.Event()
    supervisor = SystemdSupervisor(
        PATHS,
        relaunch=lambda seen: None,
        changed=lambda instance: news.set(),
        note=lambda kind, text, seen: None,
        randomness=random.random,
    )
    await supervisor.adopt()
    launch = launch_of("bench")

    async def start() -> None:
        supervisor.start(launch)
        while not supervisor.seen()[launch.instance].told.ready:
            news.clear()
            await news.wait()

    starts, stops, commands = [], [], []
    cpu = time.process_time()
    for _ in range(rounds):
        starts.append(await timed(start))
        stops.append(await timed(lambda: supervisor.stop(launch.instance)))
    cpu = time.process_time() - cpu
    for _ in range(rounds):
        commands.append(await timed(lambda: supervisor.run(launch, ("/bin/true",), 10.0)))
    supervisor.close()
    return {
        "start": median(starts),
        "stop": median(stops),
        "command": median(commands),
        "processor": cpu * 1000 / rounds,
    }


async def bare(rounds: int) -> dict[str, float]:
    """The same program as a unit without any walls."""

    async def back() -> None: ...

    name = "bare-benchmark.service"
    arguments = " ".join(f'"{item}"'.replace("\n", "\\n") for item in RUN)
    Path("/run/systemd/system", name).write_text(f"[Service]\nType=notify\nExecStart={arguments}\n")
    manager = Manager(back=back, trouble=print)
    await manager.open()
    facts, news = Facts(), asyncio.Event()

    def changed(properties: Properties) -> None:
        nonlocal facts
        facts = updated(facts, properties)
        news.set()

    manager.watch(name, changed)

    async def until(state: str) -> None:
        await (manager.start if state == "active" else manager.stop)(name)
        while facts.active != state:
            news.clear()
            await news.wait()

    starts, stops = [], []
    for _ in range(rounds):
        starts.append(await timed(lambda: until("active")))
        stops.append(await timed(lambda: until("inactive")))
    manager.close()
    return {"start": median(starts), "stop": median(stops)}


async def keep(count: int) -> None:
    """That many services boot."""
    supervisor = SystemdSupervisor(
        PATHS,
        relaunch=lambda seen: None,
        changed=lambda instance: None,
        note=lambda kind, text, seen: None,
        randomness=random.random,
    )
    await supervisor.adopt()
    await supervisor.keep_for_boot(tuple(launch_of(f"s{number}") for number in range(count)))
    supervisor.close()


def main() -> None:
    """`times ROUNDS`, or `keep COUNT`."""
    PATHS.make()
    verb, number = sys.argv[1], int(sys.argv[2])
    if verb == "keep":
        asyncio.run(keep(number))
        return
    reloads = []
    for _ in range(5):
        begun = time.perf_counter()
        subprocess.run(["systemctl", "daemon-reload"], check=True)
        reloads.append((time.perf_counter() - begun) * 1000)
    found = {
        "supervised": asyncio.run(supervised(number)),
        "bare": asyncio.run(bare(number)),
        "reload": median(reloads),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
