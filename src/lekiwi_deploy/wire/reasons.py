"""Why something waits or failed: typed, ordered, shown by `list`, `status`, `why` and the push."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo

import msgspec


class Offline(msgspec.Struct, frozen=True, tag="offline", tag_field="reason"):
    """The robot has no link; it converges when it returns."""

    since: datetime | None


class NeverJoined(msgspec.Struct, frozen=True, tag="never_joined", tag_field="reason"):
    """Added, but no machine used its join line yet."""


class Pinned(msgspec.Struct, frozen=True, tag="pinned", tag_field="reason"):
    """A person took this robot back by hand; ends with `lekiwi robots resume`."""

    deployment: str
    by: str
    since: datetime


class Quarantined(msgspec.Struct, frozen=True, tag="quarantined", tag_field="reason"):
    """This release failed on this robot and is not tried again."""

    deployment: str
    why: str


class NotBuiltFor(msgspec.Struct, frozen=True, tag="not_built_for", tag_field="reason"):
    """The release has nothing for the robot's platform."""

    platform: str


class Frozen(msgspec.Struct, frozen=True, tag="frozen", tag_field="reason"):
    """Automatic deployment of the environment is frozen until `lekiwi unfreeze`."""

    environment: str
    by: str
    since: datetime
    why: str


class Halted(msgspec.Struct, frozen=True, tag="halted", tag_field="reason"):
    """The rollout stopped, after the release failed on `failed` robots: nobody else is asked to take it. `why`: one line."""

    failed: int
    why: str = ""


class Asked(msgspec.Struct, frozen=True, tag="asked", tag_field="reason"):
    """The robot was told what is wanted and has not answered yet."""

    at: datetime


class Silent(msgspec.Struct, frozen=True, tag="silent", tag_field="reason"):
    """The robot is linked and has said nothing since; its agent seems to hang."""

    since: datetime


class Fetching(msgspec.Struct, frozen=True, tag="fetching", tag_field="reason"):
    """Content is on its way. Bytes as sent over the wire; `total` None while unknown."""

    done: int
    total: int | None


class Starting(msgspec.Struct, frozen=True, tag="starting", tag_field="reason"):
    """Switched; these services have not passed their checks yet."""

    services: tuple[str, ...]


class DiskFull(msgspec.Struct, frozen=True, tag="disk_full", tag_field="reason"):
    """Not enough room to stage the release. Sizes in bytes."""

    needed: int
    free: int


class DiskFailing(msgspec.Struct, frozen=True, tag="disk_failing", tag_field="reason"):
    """The robot cannot write down what it is to do: its disk is read-only, full to the last byte, or broken. What runs goes on."""

    why: str


class Retrying(msgspec.Struct, frozen=True, tag="retrying", tag_field="reason"):
    """A passing fault; the next try is at `at`."""

    why: str
    at: datetime


class ClonedKey(msgspec.Struct, frozen=True, tag="cloned_key", tag_field="reason"):
    """Two machines use this robot's key at once; both are refused until it is removed and joined again."""

    since: datetime


class Busy(msgspec.Struct, frozen=True, tag="busy", tag_field="reason"):
    """Somebody on the robot, or its program, said "not now". `until` None: until its holder lets go or dies. `id`: of the lease, `h3`;
    `p1234` for the process that holds the lock of /run/lekiwi/busy, `lock` when that process cannot be named."""

    owner: str
    why: str
    since: datetime
    until: datetime | None
    id: str = ""


class LowDisk(msgspec.Struct, frozen=True, tag="low_disk", tag_field="reason"):
    """Less free disk than the release asks for. Bytes."""

    needed: int
    free: int


class LowMemory(msgspec.Struct, frozen=True, tag="low_memory", tag_field="reason"):
    """Less available memory than the release asks for. Bytes."""

    needed: int
    free: int


class LowBattery(msgspec.Struct, frozen=True, tag="low_battery", tag_field="reason"):
    """Percent."""

    needed: float
    now: float
    charging: bool = False


class TooHot(msgspec.Struct, frozen=True, tag="too_hot", tag_field="reason"):
    """Degrees Celsius."""

    limit: float
    now: float


class PowerTrouble(msgspec.Struct, frozen=True, tag="power_trouble", tag_field="reason"):
    """`what`: under-voltage, throttled, …"""

    what: str


class Overloaded(msgspec.Struct, frozen=True, tag="overloaded", tag_field="reason"):
    """One-minute load average per processor."""

    limit: float
    now: float


class ClockWrong(msgspec.Struct, frozen=True, tag="clock_wrong", tag_field="reason"):
    """The robot's clock says `now`, which cannot be: `why`."""

    now: datetime
    why: str


class Settling(msgspec.Struct, frozen=True, tag="settling", tag_field="reason"):
    """It changed too often in a short time: no further automatic change of `deployment` before `until`, None: before a person acts."""

    deployment: str
    changes: int
    until: datetime | None


class Overdue(msgspec.Struct, frozen=True, tag="overdue", tag_field="reason"):
    """The robot holds a deployment off since `since`, and that is longer than its environment's `defer_limit` of `limit_s` seconds: a
    person should look. Told by the server, after the reasons themselves."""

    since: datetime
    limit_s: float


class LaterStep(msgspec.Struct, frozen=True, kw_only=True, tag="later_step", tag_field="reason"):
    """A gradual rollout has not come to this robot: it is in step `step` of `of`, from 1, and waits for `what` (`robots`, `soak`, `approval`,
    `nobody`, `room`), until `until` if it goes on by itself then. `rollout`: its id."""

    rollout: str
    step: int
    of: int
    what: str
    until: datetime | None = None


class RolloutPaused(msgspec.Struct, frozen=True, kw_only=True, tag="rollout_paused", tag_field="reason"):
    """A person paused it."""

    rollout: str
    by: str
    since: datetime
    why: str = ""


class WindowClosed(msgspec.Struct, frozen=True, kw_only=True, tag="window_closed", tag_field="reason"):
    """The environment's `window` is closed until `opens` (None: it does not open within a year, or cannot be read: `why`)."""

    window: str
    opens: datetime | None
    why: str = ""


class Drained(msgspec.Struct, frozen=True, kw_only=True, tag="drained", tag_field="reason"):
    """A person took the robot out of deployments: it keeps what it runs."""

    by: str
    since: datetime
    why: str = ""


class Unplaced(msgspec.Struct, frozen=True, kw_only=True, tag="unplaced", tag_field="reason"):
    """The robot's labels fit neither its environment nor any other one that chooses its robots: it keeps what it runs. `selects`: what its
    environment asks for."""

    environment: str
    selects: str


class AwaitsApproval(msgspec.Struct, frozen=True, kw_only=True, tag="awaits_approval", tag_field="reason"):
    """People have to say yes before `deployment` goes live in `environment`: `missing` more, after those in `given`. `not_author`: whoever
    wrote it or asked for it does not count. It waits until `expires`."""

    deployment: str
    environment: str
    missing: int
    since: datetime
    expires: datetime
    given: tuple[str, ...] = ()
    not_author: bool = False


class AwaitsRobot(msgspec.Struct, frozen=True, kw_only=True, tag="awaits_robot", tag_field="reason"):
    """The preview `environment` waits for a robot of `pool` since `since`, after `ahead` others; the next one comes free at `free_at` at the
    latest (None: no lease of that pool runs). `why`: what else keeps robots from being lent, or that none would ever come."""

    environment: str
    pool: str
    ahead: int
    since: datetime
    free_at: datetime | None = None
    why: str = ""


class VariablesSealed(msgspec.Struct, frozen=True, tag="variables_sealed", tag_field="reason"):
    """The variables of `deployment` cannot be opened on this robot, so it is not started there: `why`. What runs goes on."""

    deployment: str
    why: str


class Skipped(msgspec.Struct, frozen=True, kw_only=True, tag="skipped", tag_field="reason"):
    """The robot was off when the rollout began, and that leaves out who is off: it does not count. It gets what is live when it returns."""

    rollout: str


class Expired(msgspec.Struct, frozen=True, kw_only=True, tag="expired", tag_field="reason"):
    """The robot did not take a release for longer than `pending_expires` of its environment, `limit_s` seconds, since `since`: its rollout does
    not wait for it any more. It still gets what is live when it can. Told by the server, after the reasons themselves."""

    since: datetime
    limit_s: float


Reason = (
    Offline
    | NeverJoined
    | Pinned
    | Quarantined
    | NotBuiltFor
    | Frozen
    | Halted
    | Asked
    | Silent
    | Fetching
    | Starting
    | DiskFull
    | DiskFailing
    | Retrying
    | ClonedKey
    | Busy
    | LowDisk
    | LowMemory
    | LowBattery
    | TooHot
    | PowerTrouble
    | Overloaded
    | ClockWrong
    | Settling
    | Overdue
    | LaterStep
    | RolloutPaused
    | WindowClosed
    | AwaitsApproval
    | AwaitsRobot
    | VariablesSealed
    | Drained
    | Unplaced
    | Skipped
    | Expired
)

HOLDING_OFF = (Busy, LowDisk, LowMemory, LowBattery, TooHot, PowerTrouble, Overloaded, ClockWrong, WindowClosed)
"""What a robot itself holds a switch off for: somebody's "not now", unmet conditions, a closed window. `--force` goes over them."""


def size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def sentence(reason: Reason) -> str:
    """One line for a person, without times relative to now (the reader adds those)."""
    match reason:
        case Offline(since):
            return (
                "offline; applies on return"
                if since is None
                else f"offline since {since:%d %b %H:%M}; applies on return"
            )
        case NeverJoined():
            return "added, but its join line was not used yet"
        case Pinned(deployment, by, _):
            return f"pinned to {deployment} by {by}; lekiwi robots resume ends it"
        case Quarantined(deployment, why):
            return f"{deployment} failed here and is not tried again: {why}"
        case NotBuiltFor(platform):
            return f"not built for {platform}; deploy again to include it"
        case Frozen(environment, by, _, why):
            return f"{environment} is frozen by {by} ({why}); lekiwi unfreeze ends it"
        case Halted(failed, why):
            return f"halted: {why}" if why else f"halted: it failed on {failed} robot{'s' if failed != 1 else ''}"
        case Asked(at):
            return f"asked at {at:%H:%M:%S}, no answer yet"
        case Silent(since):
            return f"linked, but silent since {since:%H:%M:%S}: its agent seems to hang"
        case Fetching(done, total):
            return f"fetching {size(done)}" + (f" of {size(total)}" if total is not None else "")
        case Starting(services):
            return f"waiting for {', '.join(services)} to become healthy"
        case DiskFull(needed, free):
            return f"disk full: needs {size(needed)}, {size(free)} free"
        case DiskFailing(why):
            return f"its disk cannot be written: {why}"
        case Retrying(why, at):
            return f"{why}; next try {at:%H:%M:%S}"
        case ClonedKey():
            return "two machines use this robot's key: remove it and join it again"
        case Busy(owner, why, _, until):
            return f"{why or 'busy'}: held by {owner}" + (f" until {until:%H:%M:%S}" if until is not None else "")
        case LowDisk(needed, free):
            return f"disk nearly full: {size(free)} free, {size(needed)} asked for"
        case LowMemory(needed, free):
            return f"memory short: {size(free)} available, {size(needed)} asked for"
        case LowBattery(needed, now):
            return f"battery at {now:.0f} %, {needed:.0f} % asked for"
        case TooHot(limit, now):
            return f"too hot: {now:.0f} °C, at most {limit:.0f} °C asked for"
        case PowerTrouble(what):
            return f"power supply: {what}"
        case Overloaded(limit, now):
            return f"load {now:.1f} per processor, at most {limit:.1f} asked for"
        case ClockWrong(now, why):
            return f"the clock says {now:%Y-%m-%d %H:%M}: {why}"
        case Settling(deployment, changes, until):
            when = f"; next try {until:%H:%M:%S}" if until is not None else "; deploy or roll back by hand"
            return f"{deployment} was changed to and from {changes} times{when}"
        case Overdue(since, limit_s):
            return f"overdue since {since + timedelta(seconds=limit_s):%d %b %H:%M}: held off for longer than {_span(limit_s)}"
        case Skipped():
            return "left out of the rollout, since it was off when that began"
        case Expired(limit_s=limit_s):
            return f"not waited for any more: it did not take it within {_span(limit_s)}; still applies on return"
        case LaterStep(step=step, of=of, what=what, until=until):
            return f"step {step} of {of}: {_STEP_WAITS.get(what, what)}" + (f" until {until:%H:%M:%S}" if until else "")
        case RolloutPaused(by=by, why=why):
            return f"the rollout is paused by {by}" + (f": {why}" if why else "")
        case VariablesSealed(deployment, why):
            return f"the variables of {deployment} cannot be opened on this robot: {why}"
        case AwaitsApproval(
            deployment=deployment, environment=environment, missing=missing, given=given, not_author=not_author
        ):
            yes = f"{missing}{' more' if given else ''} approval{'s' if missing != 1 else ''}"
            said = [f"{', '.join(given)} approved"] if given else []
            said += ["not by its author"] if not_author else []
            return f"{deployment} waits for {yes} to go live in {environment}" + (
                f" ({'; '.join(said)})" if said else ""
            )
        case AwaitsRobot(pool=pool, ahead=ahead, free_at=free_at, why=why):
            place = f"{ahead} before it" if ahead else "it is first in the queue"
            comes = f"; the next comes free {free_at:%d %b %H:%M %Z} at the latest" if free_at is not None else ""
            return f"waits for a robot of {pool}: {place}{comes}" + (f"; {why}" if why else "")
        case WindowClosed(window=window, opens=opens, why=why):
            when = f"; opens {opens:%d %b %H:%M}" if opens is not None else ""
            return f"outside the deployment window {window}{when}" + (f": {why}" if why else "")
        case Drained(by=by, why=why):
            return f"drained by {by}" + (f" ({why})" if why else "") + ": it keeps what it runs"
        case Unplaced(environment=environment, selects=selects):
            return f"its labels fit no environment any more ({environment} has {selects}): it keeps what it runs"


_STEP_WAITS = {
    "robots": "waiting for the robots that were asked",
    "soak": "soaking",
    "approval": "waiting for approval",
    "nobody": "waiting for a robot that is there",
    "room": "as many are under way as may be",
    "paused": "paused by a person",
    "turn": "waiting for its turn",
}


def key(reason: Reason) -> str:
    """What stays the same while a reason lasts, though its figures change: `busy h3`, `low_disk`."""
    tag = str(reason.__struct_config__.tag)
    return f"{tag} {reason.id}" if isinstance(reason, Busy) and reason.id else tag


def in_zone(reason: Reason, zone: tzinfo | None) -> Reason:
    """`reason` with its times in `zone` (None: that of this machine), so that its sentence shows them so."""
    fields = {name: getattr(reason, name) for name in reason.__struct_fields__}
    times = {name: value.astimezone(zone) for name, value in fields.items() if isinstance(value, datetime)}
    return msgspec.structs.replace(reason, **times) if times else reason


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:g}s"
