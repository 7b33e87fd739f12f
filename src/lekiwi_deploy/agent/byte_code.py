"""Compiling Python files of a slot where the server could not (it did not have this Python version). Beside the digest: a slot is
whole without it, only slower to start."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from lekiwi_deploy.agent.supervisors.spawn import bury, gone, signal_group, spawn
from lekiwi_deploy.wire.manifest import Manifest
from lekiwi_deploy.wire.platforms import Platform, best_key

_LONGEST_S = 300.0
_KILL = 9


def is_wanted(manifest: Manifest, platform: Platform) -> bool:
    """Whether this release's dependencies came without byte code for this robot."""
    key = best_key(manifest.platforms, platform)
    return key is not None and not manifest.platforms[key].byte_compiled


async def compile_slot(slot: Path, interpreter: Path, helpers: set[int]) -> str | None:
    """Compile what lies below the slot, at low priority; what went wrong in one line, None: nothing. `helpers`: the process ids
    that somebody waits for."""
    run = (
        "nice",
        "-n",
        "10",
        str(interpreter),
        "-m",
        "compileall",
        "-qq",
        "--invalidation-mode",
        "unchecked-hash",
        ".",
    )
    output = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        pid, pidfd = spawn(run, folder=slot, environment={"PATH": os.environ.get("PATH", os.defpath)}, output=output)
    except OSError as error:
        return f"byte code cannot be made: {error.strerror}"
    finally:
        os.close(output)
    helpers.add(pid)
    try:
        async with asyncio.timeout(_LONGEST_S):
            await gone(pidfd)
        return None  # files that are no valid Python of this version are none of our business
    except TimeoutError:
        return f"making byte code took longer than {_LONGEST_S:g} s"
    finally:
        signal_group(pid, _KILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await gone(pidfd)
        bury(pidfd)
        helpers.discard(pid)
        os.close(pidfd)
