"""`lekiwi-agent net`: the net half as a process."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

from lekiwi_deploy.agent import notify_systemd
from lekiwi_deploy.agent.config import read_config
from lekiwi_deploy.agent.net.direct import DirectNetwork
from lekiwi_deploy.agent.net.frames import BadFrame
from lekiwi_deploy.agent.net.net_side import relay
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import Unavailable

_AGAIN_S = (0.1, 2.0)
"""How soon a root half that is not there is looked for again: at first, and at most."""


def run_net(paths: Paths) -> None:
    """Until SIGTERM, SIGINT or SIGHUP. Raises `NotFound` for a root that never joined."""
    read_config(paths)
    asyncio.run(_run(paths))


def try_server(paths: Paths) -> str:
    """The robot's server, which answered. Raises `Unavailable` with what is in the way."""
    server = read_config(paths).server
    answer = DirectNetwork(paths, read_config(paths)).content.ask("/healthz", ticket=None, limit=1 << 20)
    answer.close()
    if answer.status >= 500:
        raise Unavailable(f"{server} answers {answer.status}")
    return server


async def _run(paths: Paths) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    tasks = [asyncio.create_task(_serve(paths)), asyncio.create_task(notify_systemd.beat(lambda: True))]
    stopped = asyncio.create_task(stop.wait())
    notify_systemd.tell("READY=1")
    gc.collect()
    gc.freeze()
    try:
        await asyncio.wait([stopped, tasks[0]], return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in (stopped, *tasks):
            task.cancel()
        await asyncio.gather(stopped, *tasks, return_exceptions=True)


async def _serve(paths: Paths) -> None:
    """One root half after the other, each with the configuration as it is then."""
    said, wait_s = "", _AGAIN_S[0]
    while True:
        try:
            config = read_config(paths)
            await relay(paths, DirectNetwork(paths, config))
            why, wait_s = "the root half hung up", _AGAIN_S[0]
        except OSError as error:
            why = f"no root half at {paths.net_socket}: {error.strerror or error}"
        except BadFrame as error:
            why = f"the root half is not understood: {error.message}"
        if why != said:
            _say(why)
            said = why
        await asyncio.sleep(wait_s)
        wait_s = min(_AGAIN_S[1], wait_s * 2)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
