"""A machine that goes down again and again before anybody can look gets one thing less to start: its services, until the agent is up.

Services start at boot beside the agent. One that takes the machine down faster than the agent starts would do so for ever, proven or not.
So starts are counted on disk: `lekiwi-boot-count.service` adds one before services start, an orderly shutdown or a while without trouble
(`survived`) forgets them. At the `LIMIT`-th that came to nothing a systemd generator leaves the services out of the boot, and the
agent, which finds that (`is_up`), puts what is live on trial again: it starts it, counts, and goes back to something older if that takes the machine
down, too (docs/trials.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from lekiwi_deploy.agent.supervisors.systemd.places import TARGET, Places
from lekiwi_deploy.content.durable import sync_path

LIMIT = 3
"""Starts in a row that came to nothing; the next one is guarded."""
SURVIVED_S = 300.0
"""A machine that was up for so long did not go down at its start."""

COUNT = "lekiwi-boot-count.service"
_SCRIPT = "/etc/systemd/system-generators/lekiwi-boot-guard"
_STARTS = "/etc/lekiwi/boot/starts"
_GUARDED = "/run/lekiwi/guarded"

_TEXT = f"""\
#!/bin/sh
# Leaves LeKiwi's services out of a boot after {LIMIT} that came to nothing. Called by systemd with three folders, by {COUNT} with a word.
starts=0
[ -r {_STARTS} ] && read -r starts < {_STARTS}
case $starts in '' | *[!0-9]*) starts=0 ;; esac
case $1 in
count)
    if [ "$starts" -ge {LIMIT} ]; then mkdir -p /run/lekiwi && : > {_GUARDED}; fi
    mkdir -p /etc/lekiwi/boot && echo $((starts + 1)) > {_STARTS}.new && sync {_STARTS}.new && mv {_STARTS}.new {_STARTS} && sync /etc/lekiwi/boot
    ;;
survived)
    rm -f {_STARTS}
    ;;
/*)
    # The same name in a folder that counts for more: it hides what the target would want.
    [ "$starts" -ge {LIMIT} ] && mkdir -p "$2/{TARGET}.d" && echo '[Unit]' > "$2/{TARGET}.d/services.conf"
    ;;
esac
exit 0
"""

_UNIT = f"""\
[Unit]
Description=LeKiwi Deploy: starts that came to nothing
DefaultDependencies=no
After=local-fs.target
Before=lekiwi-boot.service lekiwi-agent.service
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={_SCRIPT} count
ExecStop={_SCRIPT} survived
"""

UNITS: Mapping[str, str] = MappingProxyType({COUNT: _UNIT})
"""Name in /etc/systemd/system → its text."""
PROGRAMS: Mapping[str, str] = MappingProxyType({_SCRIPT.removeprefix("/"): _TEXT})
"""Path below the root → an executable's text."""


def is_up(places: Places) -> bool:
    """Whether this boot left the services out, and nobody took note of that yet."""
    return _below(places, _GUARDED).exists()


def noted(places: Places) -> None:
    """What is live is on trial again: it need not be put there once more in this boot."""
    _below(places, _GUARDED).unlink(missing_ok=True)


def survived(places: Places) -> None:
    """The next boot starts services by itself again. Raises `OSError`."""
    starts = _below(places, _STARTS)
    if starts.exists():
        starts.unlink(missing_ok=True)
        sync_path(starts.parent)


def _below(places: Places, path: str) -> Path:
    return places.root / path.removeprefix("/")
