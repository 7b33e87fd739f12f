"""Switching a real service pair under load, as the agent does it: start the new process, probe it, lead, drain, stop the old one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial

from lekiwi_deploy.agent.traffic.traffic import Traffic
from lekiwi_deploy.testing.traffic_load import Tally, load

_READY_S = 30.0


async def start_service(private: int, version: str) -> subprocess.Popen[bytes]:
    """A process of the service, which listens. Raises `AssertionError` when it does not in time."""
    process = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "lekiwi_deploy.testing.traffic_service"],
        env={**os.environ, "PORT": str(private), "LEKIWI_VERSION": version},
    )
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", private)
            writer.close()
            return process
        assert process.poll() is None, f"the service ended with {process.returncode}"
        await asyncio.sleep(0.02)
    raise AssertionError(f"the service does not listen on {private} within {_READY_S:g} s")


async def stop_service(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, and wait."""
    process.terminate()
    await asyncio.to_thread(process.wait)


async def switch_under_load(
    traffic: Traffic,
    address: str,
    public: int,
    privates: tuple[int, int],
    *,
    switches: int,
    drain_s: float,
    alive: int,
    anew: int,
    sockets: int,
    life_s: float = 0.5,
) -> Tally:
    """What the load saw. A WebSocket that was cut before its version's deadline is among the failed. `life_s`: how long a keep-alive
    connection is used; well below `drain_s`, or it would meet the end of its version."""
    tally, over = Tally(), asyncio.Event()
    left: dict[str, float] = {}
    current = await start_service(privates[0], "v0")
    try:
        await traffic.lead({public: privates[0]})
        async with _running(
            load([(address, public)], tally, over, alive=alive, anew=anew, sockets=sockets, life_s=life_s), over
        ):
            for number in range(1, switches + 1):
                old, private = current, privates[number % 2]
                current = await start_service(private, f"v{number}")
                if sockets:
                    await _until(partial(_has_websockets, tally, f"v{number - 1}"))
                began = time.perf_counter()
                await traffic.lead({public: private})
                tally.leads.append(time.perf_counter() - began)
                left[f"v{number - 1}"] = time.monotonic()
                await _drained(traffic, privates[(number - 1) % 2], drain_s)
                await stop_service(old)
                # Each notices its end at its next word; only then is it known when it was cut.
                await _until(partial(_lost_websockets, tally, f"v{number - 1}"))
            await _until(lambda: tally.answers[f"v{switches}"] > 0)
    finally:
        current.kill()
        current.wait()
    for version, at in tally.cut:
        early = left.get(version, at + drain_s) + drain_s - at
        if early > 0:
            tally.failed.append(f"websocket: of {version}, cut {early:.3f} s before its deadline")
    return tally


async def _drained(traffic: Traffic, private: int, drain_s: float) -> None:
    until = time.monotonic() + drain_s
    while await traffic.connections(private) and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(max(0.0, min(0.1, until - time.monotonic())))


def _has_websockets(tally: Tally, version: str) -> bool:
    return tally.open[version] > 0


def _lost_websockets(tally: Tally, version: str) -> bool:
    return tally.open[version] == 0


async def _until(seen: Callable[[], bool]) -> None:
    async with asyncio.timeout(_READY_S):
        while not seen():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def _running(work: Coroutine[None, None, None], over: asyncio.Event) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
        over.set()
        await task
    finally:
        over.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
