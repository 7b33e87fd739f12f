"""Whether robots could run a deployment at all: what would forbid a move of an environment before it begins."""

from __future__ import annotations

from collections.abc import Sequence

from lekiwi_deploy.errors import Blocked
from lekiwi_deploy.server.store.deployments import DeploymentRow
from lekiwi_deploy.server.store.robots import RobotRow
from lekiwi_deploy.wire.platforms import best_key

_NAMED = 3


def check_fits(row: DeploymentRow, robots: Sequence[RobotRow], environment: str, *, force: bool) -> None:
    """Raises `Blocked` where it was not built for some robot's platform, or failed on every one of them, unless forced."""
    platforms = row.metadata.platforms
    unfit = [
        robot.name
        for robot in robots
        if platforms and robot.platform is not None and best_key(platforms, robot.platform) is None
    ]
    bad = [robot.name for robot in robots if robot.report is not None and row.id in robot.report.quarantined]
    if force or not (unfit or (bad and len(bad) == len(robots))):
        return
    details = {"not_built_for": unfit, "quarantined_on": bad}
    if unfit:
        raise Blocked(
            f"{row.id} {row.version} has nothing for the platform of {_shown(unfit)}: build it for {environment}; --force leaves them out",
            next=(f"lekiwi redeploy {row.id} --rebuild -e {environment}",),
            details=details,
        )
    raise Blocked(f"{row.id} {row.version} failed on {_shown(bad)}: --force goes there all the same", details=details)


def _shown(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
