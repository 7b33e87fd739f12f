"""Builds deployments: those that wait in the database (the loop `run`), and those of a push, which its hook has built in line.

A build is claimed, its claim renewed while it runs, and given up at once when the deployment is canceled. Whatever happens, the deployment
ends up built, failed or canceled, and its stream says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from weakref import WeakKeyDictionary

import msgspec

from lekiwi_deploy.errors import Conflict, Failed, LekiwiError
from lekiwi_deploy.server import previewing
from lekiwi_deploy.server.approving import go_live_built
from lekiwi_deploy.server.builds.build import build
from lekiwi_deploy.server.builds.pruning import prune_now
from lekiwi_deploy.server.builds.release import Release
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.builds.sources import prepare_ref, prepare_upload
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.engines.objects import manifest_key
from lekiwi_deploy.server.store import builds, deployments, progress, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.wire.progress import Body, Built, Closed, Note

CLAIM = timedelta(seconds=30)
RENEW_S = 8.0
LOOK_S = 2.0
AT_ONCE = max(2, os.cpu_count() or 2)
"""Builds at the same time; others wait their turn."""
MAX_ERROR = 500

_log = logging.getLogger("lekiwi.builds")

Prepare = Callable[[Path, Report], Awaitable[None]]
"""Fills the empty folder it is given with the project's files."""


async def run(context: Context) -> None:
    """The builder loop: takes what is queued or was left by a builder that is gone, until it is cancelled."""
    await asyncio.to_thread(_clear_scratch, context.config.data / "scratch")
    await asyncio.to_thread(prune_now, context.config.data / "cache")
    free = asyncio.Semaphore(AT_ONCE)
    with context.nudges.subscribe("builds") as hints:
        async with asyncio.TaskGroup() as running:
            while True:
                await free.acquire()
                now = context.now()
                async with context.database.transaction() as tx:
                    row = await builds.claim(tx, context.replica, now, now + CLAIM)
                if row is None:
                    free.release()
                    await hints.wait(LOOK_S)
                    continue
                task = running.create_task(_build_claimed(context, row))
                task.add_done_callback(lambda _: free.release())


async def _build_claimed(context: Context, row: DeploymentRow) -> None:
    prepare = prepare_upload(context, row) if row.upload is not None else prepare_ref(context, row)
    with contextlib.suppress(LekiwiError):  # it is in the deployment's stream
        await build_deployment(context, row, prepare)


async def build_deployment(context: Context, row: DeploymentRow, prepare: Prepare) -> Release:
    """Builds a deployment that this replica has claimed, and stores what came of it. Unless it is of a push, its rollout starts.

    Raises `LekiwiError` when it failed (the deployment and its stream say so already), `Conflict` when it was canceled.
    """
    report = Report(context, row.id, row.project)
    scratch = context.config.data / "scratch" / row.id
    work = asyncio.create_task(_work(context, row, prepare, scratch, report))
    hold = asyncio.create_task(_hold(context, row))
    try:
        await asyncio.wait({work, hold}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            hold.result()  # the claim is lost, or the database is
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            async with context.database.transaction() as tx:
                await _close(tx, context, row, "canceled", "canceled")
            raise Conflict(f"{row.id} was canceled")
        release = work.result()
        await _store(context, row, release)
    except Conflict:
        raise
    except LekiwiError as error:
        await _fail(context, row, error.message)
        raise
    except asyncio.CancelledError:
        if row.source == "push":  # others are taken up again
            await asyncio.shield(_fail(context, row, "the push was interrupted; push again"))
        raise
    except Exception as error:
        _log.exception("building %s", row.id)
        await _fail(context, row, "the server made a mistake while building; its log has the particulars")
        raise Failed(f"{row.id}: the server made a mistake while building; its log has the particulars") from error
    finally:
        for task in (work, hold):
            task.cancel()
        await asyncio.gather(work, hold, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, scratch, True)
    return release


async def _work(context: Context, row: DeploymentRow, prepare: Prepare, scratch: Path, report: Report) -> Release:
    await asyncio.to_thread(shutil.rmtree, scratch, True)
    tree = scratch / "tree"
    tree.mkdir(parents=True, mode=0o755)
    turns = _turns()
    if turns.locked():
        await report.note("waiting for other builds on this server")
    async with turns:
        await prepare(tree, report)
        return await build(context, row, scratch, report)


def _turns() -> asyncio.Semaphore:
    return _TURNS.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))


_TURNS: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def _hold(context: Context, row: DeploymentRow) -> None:
    """Renews the claim; returns when the deployment is not ours to build any more."""
    with context.nudges.subscribe("builds", row.id) as hints:
        while True:
            async with context.database.transaction() as tx:
                if not await builds.renew(tx, row.id, context.replica, context.now() + CLAIM):
                    return
            await hints.wait(RENEW_S)


async def _store(context: Context, row: DeploymentRow, release: Release) -> None:
    now = context.now()
    async with context.database.transaction() as tx:
        stored = await builds.finish(
            tx,
            row.id,
            context.replica,
            now=now,
            stack=release.stack,
            input_digest=release.input_digest,
            digest=release.digest,
            key=manifest_key(release.digest),
            manifest_size=release.manifest_size,
            files=release.files,
            bytes=release.bytes,
            build_s=release.build_s,
            test_s=release.test_s,
            tests=release.tests,
            metadata=msgspec.structs.replace(
                release.metadata,
                pace=row.metadata.pace,
                min_success=row.metadata.min_success,
                skip_offline=row.metadata.skip_offline,
            ),
            variables=release.variables,
        )
        if not stored:
            raise Conflict(f"{row.id} was canceled")
        current = await deployments.read(tx, row.id)
        version = current.version if current else row.version
        bodies: list[Body] = [Built(row.id, version, release.digest, release.bytes, release.files, release.reused)]
        if row.source != "push" and not (row.roll_out and row.environment):
            why = "built; not rolled out, as asked" if row.environment else "built; no environment was named"
            bodies.append(Closed("built", why))
        await progress.append(tx, row.id, bodies, now, close=isinstance(bodies[-1], Closed))
        if row.source == "push":
            await tx.notify("refs", row.project)
        elif row.roll_out and row.environment:
            environment = await projects.environment(tx, row.project, row.environment)
            if environment.freeze is not None:
                frozen = f"{row.environment} is frozen by {environment.freeze.by}: deployed all the same, as asked by {row.created_by}"
                await progress.append(tx, row.id, [Note(frozen, warning=True)], now)
            if not await previewing.queues(tx, context, row.id):
                await go_live_built(tx, context, row.id)


async def _fail(context: Context, row: DeploymentRow, why: str) -> None:
    async with context.database.transaction() as tx:
        if await builds.fail(tx, row.id, why[:MAX_ERROR], context.now()):
            await _close(tx, context, row, "failed", why[:MAX_ERROR])


async def _close(tx: Transaction, context: Context, row: DeploymentRow, status: str, why: str) -> None:
    if not (await progress.state(tx, row.id)).closed:
        await progress.append(tx, row.id, [Closed(status, why)], context.now(), close=True)


def _clear_scratch(folder: Path) -> None:
    """What killed builds left: one server at a time uses this folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
