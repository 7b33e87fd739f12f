"""`lekiwi-agent guard`: the release before, going over to a new one and watching it (`robot/agent_update.py` judges).

It is a unit of its own, so it does not die with the agent that it watches. Killed and started again it goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from lekiwi_deploy.agent.ask import ask
from lekiwi_deploy.agent.install import systemctl
from lekiwi_deploy.agent.net.as_net_user import net_account
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.self_update import journal_copy
from lekiwi_deploy.agent.self_update.places import Outcome, Places, Trial
from lekiwi_deploy.agent.self_update.units import NET_HALF, ROOT_HALF
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.robot.agent_update import GoBack, Stay, Wait, Watched, judge
from lekiwi_deploy.wire.local import Alive, AlivePlease

_LOOK_S = 1.0
_ASK_S = 5.0
_TRY_S = 8.0
_BACK_S = 60.0


def guard(paths: Paths, say: Callable[[str], None]) -> int:
    """Until the release on trial may stay, or is gone. Raises `OSError` when that cannot be written down, `LekiwiError` when systemd does
    not do what it is told; it is to be called again then."""
    places = Places(paths)
    trial = places.trial() or places.last_trial()
    if trial is None:
        places.forget_trial()
        say("there is no release of the agent to watch")
        return 0
    if places.current == trial.old and places.went_back() is None:
        say(f"going over from {trial.old} to {trial.new}")
        journal_copy.keep(paths)
        places.go(trial.new)
        _restart()
    verdict = _watch(paths, places, trial)
    if verdict is None:
        places.forget_trial()
        say(f"somebody installed {places.current} meanwhile: it is not watched")
        return 0
    now = datetime.now(UTC)
    outcome = Outcome(old=trial.old, new=trial.new, stayed=isinstance(verdict, Stay), why=verdict.why, at=now)
    if isinstance(verdict, Stay):
        say(f"{trial.new} stays: {verdict.why}")
        journal_copy.forget(paths)
        places.end(outcome, trial.attempt)
        return 0
    say(f"going back to {trial.old}: {verdict.why}")
    places.go_back(trial, verdict.why)
    systemctl.call("kill", "--signal=KILL", ROOT_HALF, NET_HALF, check=False)  # it may not listen to anything else
    if journal_copy.put_back_if_unreadable(paths):
        say("its journal could not be read by this release: the one from before is back")
    places.end(outcome, trial.attempt)
    _restart()
    ended = time.monotonic() + _BACK_S
    while time.monotonic() < ended:
        alive = _asked(paths)
        if alive is not None and alive.release == trial.old:
            say(f"{trial.old} runs again")
            return 0
        time.sleep(_LOOK_S)
    say(f"{trial.old} does not answer yet")
    return 0


def _watch(paths: Paths, places: Places, trial: Trial) -> Stay | GoBack | None:
    """The verdict; None: a person decided otherwise."""
    began = last = time.monotonic()
    answers_since: float | None = None
    reachable: bool | None = None
    returned: float | None = None
    missed = False
    while True:
        elsewhere = places.current != trial.new  # first: `before-start` says why before it goes back
        why = places.went_back()
        if why is not None:
            return GoBack(why)
        if elsewhere:
            return None
        alive = _asked(paths)
        now = time.monotonic()
        if alive is not None and alive.release == trial.new and alive.turns:
            answers_since, last = answers_since or now, now
        else:
            answers_since = None
        verdict = judge(
            Watched(
                since=now - began,
                answered_for=now - answers_since if answers_since is not None else None,
                silent_for=now - last,
                starts=places.starts(),
                linked=alive is not None and alive.linked,
                linked_before=trial.linked,
                reachable=reachable,
                returned_for=now - returned if returned is not None else None,
            )
        )
        if not isinstance(verdict, Wait):
            return verdict
        if verdict.try_server:
            reachable = _server_is_there(paths)
            missed = missed or not reachable
            returned = None if not reachable else returned or (time.monotonic() if missed else None)
        time.sleep(_LOOK_S)


def _asked(paths: Paths) -> Alive | None:
    with contextlib.suppress(LekiwiError, OSError):
        return ask(paths, AlivePlease(), Alive, timeout_s=_ASK_S)
    return None


def _server_is_there(paths: Paths) -> bool:
    """Whether this release reaches the server, as the user who has the network."""
    account = net_account()
    command = [sys.executable, "-I", "-m", "lekiwi_deploy.agent", "net", "--try", "--root", str(paths.root)]
    identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()} if account is not None else {}
    try:
        done = subprocess.run(
            command,
            timeout=_TRY_S,
            check=False,
            stdin=subprocess.DEVNULL,
            env=dict(os.environ),
            **identity,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(done.returncode == 0)


def _restart() -> None:
    systemctl.call("reset-failed", ROOT_HALF, NET_HALF, check=False)
    systemctl.call("restart", "--no-block", ROOT_HALF, NET_HALF)
