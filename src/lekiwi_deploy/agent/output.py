"""What services write, wherever it goes: to files of theirs (`tail.py`), or to the journal of a robot with systemd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.supervisors.choose import systemd_runs_services
from lekiwi_deploy.agent.tail import Tail
from lekiwi_deploy.agent.variables.masking import Mask
from lekiwi_deploy.wire.ids import DeploymentId


class Output(Protocol):
    """Line by line into the log spool."""

    def follow(self, instance: str, service: str, path: Path, deployment: DeploymentId) -> None:
        """From now on what `instance`, a version of `service`, writes (to `path`, if to a file) is of `deployment`."""
        ...

    def leave(self, instance: str) -> None:
        """It has ended."""
        ...

    def last_lines(self, instance: str) -> tuple[str, ...]:
        """The newest lines that it wrote, oldest first."""
        ...

    def close(self) -> None:
        """Read what is there and stop."""
        ...


def choose_output(
    paths: Paths, spool: Spool, *, appended: Callable[[], None], trouble: Callable[[str], None], mask: Mask
) -> Output:
    """The one that belongs to what runs the services here. `appended` is called when there is more to send, `trouble` with what a person
    should know; `mask`: what is hidden."""
    if systemd_runs_services(paths):
        from lekiwi_deploy.agent.supervisors.systemd.journal import JournalTail

        return JournalTail(spool, appended=appended, trouble=trouble, hide=mask.hide)
    return Tail(spool, appended=appended, trouble=trouble, mask=mask)
