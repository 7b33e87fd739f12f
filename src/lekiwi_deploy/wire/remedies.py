"""What would clear a reason, for everybody who is told of it: the robot, the server, the CLI."""

from __future__ import annotations

from lekiwi_deploy.wire.reasons import (
    Asked,
    AwaitsApproval,
    AwaitsRobot,
    Busy,
    ClockWrong,
    ClonedKey,
    DiskFailing,
    DiskFull,
    Drained,
    Expired,
    Fetching,
    Frozen,
    Halted,
    LaterStep,
    LowBattery,
    LowDisk,
    LowMemory,
    NeverJoined,
    NotBuiltFor,
    Offline,
    Overdue,
    Overloaded,
    Pinned,
    PowerTrouble,
    Quarantined,
    Reason,
    Retrying,
    RolloutPaused,
    Settling,
    Silent,
    Skipped,
    Starting,
    TooHot,
    Unplaced,
    VariablesSealed,
    WindowClosed,
    size,
)


def remedy(reason: Reason, robot: str = "NAME") -> str:
    """What would clear it, one line; commands in it can be pasted. `robot`: the name of the robot that waits."""
    force = f"; or go over it: lekiwi robots resume {robot} --force"
    match reason:
        case Offline():
            return f"switch {robot} on, or bring its network back; on the robot, lekiwi-agent status says what its link does"
        case NeverJoined():
            return f"run the line that lekiwi robots rejoin {robot} prints, on the robot"
        case Pinned():
            return f"lekiwi robots resume {robot}, or a deployment made after the pin"
        case Quarantined(deployment, _):
            return f"deploy a corrected version; or try {deployment} again: lekiwi rollback --robot {robot} --to={deployment} --force"
        case NotBuiltFor(platform):
            return f"deploy again: builds made from now on include {platform}"
        case Frozen(environment, _, _, _):
            return f"lekiwi unfreeze -e {environment}"
        case Halted():
            return "deploy a corrected version"
        case Asked():
            return f"wait for its answer; if none comes, lekiwi-agent status on {robot} says why"
        case Silent():
            return f"restart the agent on {robot}: systemctl restart lekiwi-agent"
        case Fetching():
            return "wait until it is here"
        case Starting(services):
            return (
                f"wait until they pass their checks; lekiwi logs --robot={robot} shows what {', '.join(services)} wrote"
            )
        case DiskFull(needed, free):
            return f"free {size(max(0, needed - free))} on {robot}; it tries again by itself"
        case DiskFailing():
            return f"free room on {robot}, or reboot it; a disk that makes itself read-only again is to be replaced"
        case Retrying(_, at):
            return f"wait until {at:%H:%M:%S}: it tries again by itself"
        case ClonedKey():
            return f"lekiwi robots rm {robot}, add it again, and join one machine with each name"
        case Busy(until=until, id=id):
            wait = f", or wait until {until:%H:%M:%S}" if until is not None else ""
            if id == "lock":
                return f"end the program on {robot} that has locked /run/lekiwi/busy{force}"
            if id.startswith("p"):
                return f"end process {id[1:]} on {robot}{wait}{force}"
            return f"lekiwi-agent release {id or '--all'} on {robot}{wait}{force}"
        case LowDisk(needed, free):
            return f"free {size(max(0, needed - free))} on {robot}{force}"
        case LowMemory(needed, free):
            return f"end programs on {robot} that use {size(max(0, needed - free))} of memory{force}"
        case LowBattery(needed, _, charging):
            return (
                f"wait until it is charged to {needed:.0f} %" if charging else f"put {robot} on its charger"
            ) + force
        case TooHot(limit, _):
            return f"let {robot} cool down to {limit:.0f} °C{force}"
        case PowerTrouble():
            return f"give {robot} a stronger power supply or cable, or take load off it{force}"
        case Overloaded(limit, _):
            return f"wait until its load per processor is {limit:.1f} or less{force}"
        case ClockWrong():
            return f"set the clock of {robot} (timedatectl says whether it is synchronised){force}"
        case Settling(_, _, until):
            if until is None:
                return "deploy a corrected version, or roll back by hand"
            return f"wait until {until:%H:%M:%S}; or deploy a corrected version, or roll back by hand"
        case LaterStep(rollout=rollout, what=what, until=until):
            if what == "approval":
                return f"lekiwi rollout approve {rollout}"
            wait = f"wait until {until:%H:%M:%S}" if until is not None else "wait"
            return f"{wait}; or ask everybody now: lekiwi rollout complete {rollout}"
        case RolloutPaused(rollout=rollout):
            return f"lekiwi rollout resume {rollout}"
        case VariablesSealed():
            return f"sudo lekiwi-agent doctor on {robot}; if its key is another than it joined with: lekiwi robots rejoin {robot}"
        case AwaitsApproval(deployment=deployment, environment=environment):
            return f"lekiwi approve {deployment} -e {environment}; or lekiwi reject {deployment} -e {environment}"
        case AwaitsRobot(environment=environment, pool=pool):
            more = f"or end another one: lekiwi preview list; or lekiwi robots add ROBOT --group {pool}"
            return f"wait; {more}; or drop it: lekiwi preview rm {environment}"
        case WindowClosed(opens=opens):
            wait = (
                f"wait until {opens:%d %b %H:%M}" if opens is not None else "change the environment's deployment_window"
            )
            return wait + force
        case Drained():
            return f"lekiwi robots undrain {robot}"
        case Unplaced():
            return f"give it labels that fit: lekiwi robots tag {robot} KEY=VALUE; or lekiwi robots move {robot} ENVIRONMENT"
        case Skipped() | Expired():
            return f"switch {robot} on and bring it back to its network: it gets what is live"
        case Overdue():
            return f"clear what it waits for{force}; or raise defer_limit of its environment"
