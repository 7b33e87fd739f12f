"""Putting an agent together and running it until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import signal
import sys
import traceback

from lekiwi_deploy import __version__
from lekiwi_deploy.agent import machine, notify_systemd
from lekiwi_deploy.agent.control import Control, roll_back
from lekiwi_deploy.agent.environment import link_interpreter
from lekiwi_deploy.agent.link import Link
from lekiwi_deploy.agent.lock import agent_lock
from lekiwi_deploy.agent.net.choose import close_network, open_network
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.reconcile import reconcile
from lekiwi_deploy.agent.report import Reporter
from lekiwi_deploy.agent.robot import Robot
from lekiwi_deploy.agent.scrub import Scrubber
from lekiwi_deploy.agent.self_update.begin import begin
from lekiwi_deploy.agent.start import start
from lekiwi_deploy.agent.supervisors import families
from lekiwi_deploy.agent.supervisors.systemd import boot_guard
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.agent.turning import Turning
from lekiwi_deploy.wire.local import Moved, RollBackPlease


def run(paths: Paths, *, leave_services: bool, net_user: int | None = None) -> None:
    """Until SIGTERM, SIGINT or SIGHUP. `leave_services`: they go on running after that; otherwise they are stopped. `net_user`: the network
    is left to a net half of that user id (`lekiwi-agent net`); None: this process does it itself.

    Raises `NotFound` for a root that never joined, `Conflict` when an agent runs here already.
    """
    asyncio.run(_run(paths, leave_services, net_user))


def roll_back_alone(paths: Paths, ask: RollBackPlease) -> Moved:
    """Without a running agent: do what one would do for `ask`, leave the services running, and end.

    Raises what `run` raises, and what `control.roll_back` does.
    """
    return asyncio.run(_roll_back_alone(paths, ask))


async def _run(paths: Paths, leave_services: bool, net_user: int | None) -> None:
    with agent_lock(paths):
        robot = await _started(paths)
        reporter = Reporter(robot)
        control = Control(robot, reporter)
        await control.open()
        await robot.consent.open()
        network = await open_network(robot, control, net_user)
        robot.fetches.use(network.content)
        _tell_hello(robot)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stop.set)
        want_agent, agent_care = begin(robot, network, control, halves=net_user is not None)
        link = Link(robot, reporter, control, network, want_agent=want_agent, randomness=random.random)
        tasks = [
            asyncio.create_task(reconcile(robot), name="reconcile"),
            asyncio.create_task(link.run(), name="link"),
            asyncio.create_task(Scrubber(robot).run(), name="scrub"),
            asyncio.ensure_future(agent_care),
            asyncio.create_task(notify_systemd.beat(Turning(robot)), name="watchdog"),
            asyncio.create_task(_survive(robot), name="survive"),
        ]
        notify_systemd.tell("READY=1")
        gc.collect()
        gc.freeze()
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([stopped, *tasks[:2]], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks[:2]:
                if task.done():
                    task.result()  # a defect of ours: better to die loudly and be started again
        finally:
            stopped.cancel()
            notify_systemd.tell("STOPPING=1")
            await close_network(network)
            await control.close()
            await robot.consent.close()
            await _end(robot, tasks, leave_services)


async def _roll_back_alone(paths: Paths, ask: RollBackPlease) -> Moved:
    with agent_lock(paths):
        robot = await _started(paths)
        task = asyncio.create_task(reconcile(robot))
        try:
            return await roll_back(robot, ask)
        finally:
            await _end(robot, [task], leave_services=True)


async def _started(paths: Paths) -> Robot:
    families.become_subreaper()
    robot = await start(paths, randomness=random.random)
    link_interpreter(paths, getattr(sys, "_base_executable", "") or sys.executable)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGCHLD, robot.services.reap)
    loop.set_exception_handler(lambda _, context: _defect(robot, context))
    return robot


def _defect(robot: Robot, context: dict[str, object]) -> None:
    """Something of ours broke outside of the loops that would end with it: say so, look again, go on."""
    error = context.get("exception")
    robot.history.trouble(f"a defect of the agent: {context.get('message')}: {type(error).__name__}: {error}")
    if isinstance(error, BaseException):
        traceback.print_exception(error)
    robot.nudge()


async def _survive(robot: Robot) -> None:
    """A machine that is up long enough, with nothing on trial, starts its services by itself at its next boot, whatever was before."""
    while (left := boot_guard.SURVIVED_S - machine.boottime()) > 0 or robot.ledger.trial is not None:  # noqa: ASYNC110
        await asyncio.sleep(max(left, 10.0))
    with contextlib.suppress(OSError):
        boot_guard.survived(Places(robot.paths.root))


async def _end(robot: Robot, tasks: list[asyncio.Task[None]], leave_services: bool) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await robot.fetches.close()
    if not leave_services:
        await robot.services.stop_all()
    await robot.services.close()
    robot.tail.close()
    robot.history.note("agent_stopped", "the agent stopped" + (", its services run on" if leave_services else ""))
    robot.history.flush()
    with contextlib.suppress(OSError):
        robot.flush()


def _tell_hello(robot: Robot) -> None:
    config, live = robot.config, robot.ledger.live
    runs = f"{live} ({robot.ledger.slots[live].ref.version})" if live is not None else "nothing yet"
    robot.history.note(
        "agent_started",
        f"lekiwi-agent {__version__}: robot {config.robot} of {config.server}, root {robot.paths.root}; runs {runs}",
        live,
    )
