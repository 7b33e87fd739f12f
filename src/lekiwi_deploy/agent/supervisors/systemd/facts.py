"""What systemd says of one unit, and what that means in the agent's words. Pure."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lekiwi_deploy.agent.supervisors.supervisor import Told
from lekiwi_deploy.agent.supervisors.told import after_status

UNIT_PROPERTIES = ("ActiveState", "SubState", "Job", "FreezerState")
SERVICE_PROPERTIES = (
    "MainPID",
    "ExecMainPID",
    "ExecMainStartTimestamp",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
    "ExecMainCode",
    "ExecMainStatus",
    "StatusText",
    "NRestarts",
    "Result",
)

_FIELDS = {
    "ActiveState": "active",
    "SubState": "sub",
    "FreezerState": "freezer",
    "MainPID": "pid",
    "ExecMainPID": "last_pid",
    "ExecMainStartTimestamp": "started_wall",
    "ExecMainStartTimestampMonotonic": "started",
    "ExecMainExitTimestampMonotonic": "ended",
    "ExecMainCode": "code",
    "ExecMainStatus": "status",
    "StatusText": "text",
    "NRestarts": "restarts",
    "Result": "result",
}
_EXITED, _DUMPED = 1, 3  # CLD_EXITED, CLD_DUMPED
_SANDBOX = {
    200: "its folder cannot be entered",
    203: "its program cannot be executed",
    204: "memory ran out",
    206: "its file of variables or its input is missing",
    208: "its input cannot be opened",
    209: "its output cannot be opened",
    214: "its scheduling cannot be set",
    215: "it cannot be run on those processors",
    216: "one of its groups does not exist",
    217: "its user cannot be made",
    218: "its capabilities cannot be set",
    225: "its network cannot be cut off",
    226: "its view of the files cannot be made",
    228: "its system calls cannot be restricted",
    231: "its output cannot be opened",
    238: "its state folder cannot be made",
    240: "its log folder cannot be made",
}
"""Exit codes with which systemd says that it did not come to run the program (systemd.exec(5))."""


@dataclass(frozen=True, slots=True)
class Facts:
    """`started`, `ended`: CLOCK_MONOTONIC microseconds of the newest main process, 0: never; `started_wall`: of the wall clock; `code`,
    `status`: how it ended, as in siginfo_t; `restarts`: by systemd; `busy`: a job of the unit is under way."""

    active: str = "inactive"
    sub: str = "dead"
    freezer: str = "running"
    busy: bool = False
    pid: int = 0
    last_pid: int = 0
    started_wall: int = 0
    started: int = 0
    ended: int = 0
    code: int = 0
    status: int = 0
    text: str = ""
    restarts: int = 0
    result: str = "success"

    @property
    def over(self) -> bool:
        """Nothing of it runs, and nothing is about to (but systemd's own restart, after its delay)."""
        return self.waits or (not self.busy and self.active in ("inactive", "failed"))

    @property
    def waits(self) -> bool:
        """systemd is going to start it again, when its delay is over."""
        return not self.busy and self.active == "activating" and self.sub.startswith("auto-restart")


def updated(facts: Facts, properties: Mapping[str, tuple[str, Any]]) -> Facts:
    """After a signal or an answer: names → (signature, value), of which most do not matter."""
    news: dict[str, Any] = {field: properties[name][1] for name, field in _FIELDS.items() if name in properties}
    if "Job" in properties:
        news["busy"] = properties["Job"][1][0] != 0
    return replace(facts, **news) if news else facts


def ending(facts: Facts, watchdog_s: float | None) -> str:
    """How its last process ended, in words that go after the service's name."""
    match facts.result:
        case "watchdog":
            return "was killed: no sign of life" + (f" for {watchdog_s:g} s" if watchdog_s is not None else "")
        case "oom-kill":
            return "was killed: it used more memory than it may, or than there was"
        case "resources":
            return "cannot be started: systemd could not set it up (see journalctl -u lekiwi-…)"
        case "protocol":
            return "ended before it said that it is ready"
    if facts.code == 0:
        return "cannot be started" if facts.started == 0 else "ended"
    if facts.code != _EXITED:
        try:
            name = signal.Signals(facts.status).name
        except ValueError:
            name = f"signal {facts.status}"
        return f"was killed by {name}" + (", leaving a core dump" if facts.code == _DUMPED else "")
    if facts.status in _SANDBOX:
        return f"exited with code {facts.status}, which is systemd's word for: {_SANDBOX[facts.status]}"
    return f"exited with code {facts.status}"


def told(before: Told, facts: Facts, *, notify: bool, now: float) -> Told:
    """What it has said of itself by now. `now`: CLOCK_MONOTONIC seconds, for what carries no time."""
    after = after_status(before, facts.text, now)
    if after.status == before.status:  # no news: it keeps the moment at which it was said
        after = before
    return replace(after, ready=notify and facts.active in ("active", "reloading"))
