"""The project's own commands within a build: npm, `build`, `test`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable

from lekiwi_deploy.errors import BadInput, Failed, LekiwiError
from lekiwi_deploy.server.builds.build_python import TestsNeed
from lekiwi_deploy.server.builds.release import Job
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.builds.spec import CommandSpec
from lekiwi_deploy.server.builds.test_summary import summary
from lekiwi_deploy.wire.progress import Step

NPM_TIMEOUT_S = 1_200.0
NOTHING_GIVEN = TestsNeed({})


async def run_build_commands(job: Job) -> None:
    """Installs npm's packages, unless `build` says how to build, and runs `build`. Raises `BadInput`, `Failed`."""
    node = job.found.node
    if node is not None and node.install is not None and job.spec.build is None:
        if shutil.which("npm") is None:
            raise BadInput(
                "package.json has dependencies, but npm is not installed on the server: install nodejs and npm there"
            )
        if not node.locked:
            await job.report.note("there is no package-lock.json: dependencies may differ from build to build")
        command = ("npm", *node.install, "--no-progress", "--loglevel", "error")
        await _run(job, CommandSpec(command, " ".join(command[:2]), NPM_TIMEOUT_S), Step.BUILD, network=True)
    if job.spec.build is not None:
        await _run(job, job.spec.build, Step.BUILD, network=True)


async def _run(
    job: Job, command: CommandSpec, step: Step, *, network: bool, given: TestsNeed = NOTHING_GIVEN
) -> tuple[str, ...]:
    ended = await job.shop.run(
        command.run,
        timeout_s=command.timeout_s,
        on_lines=_lines_to(job.report, step),
        network=network,
        env=given.env,
        binds=given.binds,
    )
    if not ended.ok:
        counts = summary(ended.tail, ok=False) if step is Step.TEST else ""
        why = ended.verdict + (_hint(command, network) if ended.code == 127 else "")
        raise Failed(f"{command.short}: {counts + ' (' + why + ')' if counts else why}")
    return ended.tail


def _hint(command: CommandSpec, network: bool) -> str:
    word = command.shown.split()[0] if command.shown.split() else ""
    if word == "pytest" and not network:
        return ": add pytest to the project's dev dependencies or to requirements-dev.txt"
    return ""


def _lines_to(report: Report, step: Step) -> Callable[[list[str]], Awaitable[None]]:
    async def tell(lines: list[str]) -> None:
        await report.output(step, lines)

    return tell


async def run_tests(job: Job, given: TestsNeed) -> tuple[float | None, str | None]:
    """Seconds and summary of the test command; None when there is none. Raises `Failed`, after reporting."""
    if job.spec.test is None:
        return None, None
    clock = asyncio.get_running_loop().time
    started = clock()
    await job.report.started(Step.TEST, job.spec.test.shown)
    try:
        tail = await _run(job, job.spec.test, Step.TEST, network=False, given=given)
    except LekiwiError as error:
        await job.report.finished(Step.TEST, False, error.message, clock() - started)
        raise
    text, took = summary(tail, ok=True), clock() - started
    await job.report.finished(Step.TEST, True, text, took)
    return took, text
