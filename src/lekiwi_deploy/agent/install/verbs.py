"""`lekiwi-agent install`, `uninstall`, `lock-ssh` and `doctor`: their options, and what they print."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import BadInput


def add_parsers(commands: Any, root: argparse.ArgumentParser, json_flag: argparse.ArgumentParser) -> None:
    """What may stand on the command line. `commands`: the sub-parsers of `lekiwi-agent`."""
    install = commands.add_parser(
        "install",
        parents=[root, json_flag],
        help="make this the agent of the machine, started by systemd; install.sh calls it",
        description="Make this release of the agent the one that this machine runs, join a server if it is no robot yet, and start. "
        "Running it again continues what was interrupted, repairs, or upgrades.",
    )
    install.add_argument("--server", metavar="URL", help="the server to join")
    install.add_argument("--token", help="the join token; - reads it from stdin. Without it: repair or upgrade")
    install.add_argument("--release", metavar="NAME", help="another unpacked release than that of this program")
    install.add_argument(
        "--insecure-http", action="store_true", help="allow plain HTTP to a machine other than this one"
    )
    install.add_argument(
        "--again", action="store_true", help="join although this machine is a robot; what runs goes on"
    )
    install.add_argument("--no-start", action="store_true", help="start nothing")

    uninstall = commands.add_parser(
        "uninstall",
        parents=[root, json_flag],
        help="stop the services and remove everything that belongs to LeKiwi Deploy",
        description="Stop the agent and its services, and remove deployments, units, forwarded ports, settings, logs and the system "
        "user. What the services learnt (/var/lib/lekiwi/state) goes, too, unless --keep-state is given.",
    )
    uninstall.add_argument(
        "--keep-state", action="store_true", help="leave what the services wrote into their state folders"
    )
    uninstall.add_argument("--yes", action="store_true", help="do not ask")

    lock = commands.add_parser(
        "lock-ssh", parents=[root], help="let nobody log in over SSH with a password any more, or undo that"
    )
    lock.add_argument("--user", metavar="NAME", help="who must be able to log in with a key (default: who called sudo)")
    lock.add_argument("--undo", action="store_true", help="allow passwords as before")

    commands.add_parser(
        "doctor",
        parents=[root, json_flag],
        help="check that this robot is well, and say how to mend what is not; 1 if anything fails",
    )


def _install(options: argparse.Namespace, paths: Paths) -> int:
    from lekiwi_deploy.agent.install.installing import Wish, install, result_json

    token = sys.stdin.readline().strip() if options.token == "-" else options.token
    wish = Wish(
        release=options.release,
        server=options.server,
        token=token or None,
        insecure_http=options.insecure_http,
        again=options.again,
        start=not options.no_start,
    )
    installed = install(paths, wish, _say)
    if options.json:
        _out(result_json(installed))
    if installed.linked:
        _say(f"{installed.robot} is linked to {installed.server}: what is pushed there runs here")
    _say("next: lekiwi-agent status       what it runs")
    _say("      lekiwi-agent doctor       whether all is well")
    _say("      sudo lekiwi-agent uninstall")
    return 0


def _uninstall(options: argparse.Namespace, paths: Paths) -> int:
    from lekiwi_deploy.agent.install.uninstalling import belongings, kept, uninstall
    from lekiwi_deploy.wire.encoding import encode

    found = belongings(paths, keep_state=options.keep_state)
    if not options.yes and found:
        _say("This stops the services of this robot and removes:")
        for path in found:
            _say(f"  {path}")
        for line in kept(paths, keep_state=options.keep_state):
            _say(f"It keeps {line}")
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise BadInput("there is no terminal to confirm it on", next=("sudo lekiwi-agent uninstall --yes",))
        sys.stderr.write("Go on? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            _say("Nothing was changed.")
            return 130
    done = uninstall(paths, keep_state=options.keep_state, say=_say)
    if options.json:
        _out(encode(done).decode())
    _say("LeKiwi Deploy is gone from this machine" if done.removed else "there was nothing of LeKiwi Deploy here")
    for line in done.kept:
        _say(f"kept {line}")
    if done.robot:
        _say(f"next: lekiwi robots rm {done.robot}   # on your laptop: the server still knows it")
    return 0


def _lock_ssh(options: argparse.Namespace, paths: Paths) -> int:
    from lekiwi_deploy.agent.install import lock_ssh

    if options.undo:
        lock_ssh.unlock(paths)
        _say("passwords over SSH are as they were before")
        return 0
    user = options.user or os.environ.get("SUDO_USER") or "root"
    lock_ssh.lock(paths, user)
    _say("nobody logs in over SSH with a password any more; keys work as before")
    _say("undo: sudo lekiwi-agent lock-ssh --undo")
    return 0


def _doctor(options: argparse.Namespace, paths: Paths) -> int:
    from lekiwi_deploy.agent.doctor.show import doctor

    return doctor(paths, as_json=options.json, out=_out)


HANDLERS: Mapping[str, Callable[[argparse.Namespace, Paths], int]] = MappingProxyType(
    {"install": _install, "uninstall": _uninstall, "lock-ssh": _lock_ssh, "doctor": _doctor}
)


def run(options: argparse.Namespace) -> int:
    """Whichever of the four was asked for."""
    root = Path(options.root)
    if root.exists() and not root.is_dir():
        raise BadInput(f"--root {root} is not a folder")
    return HANDLERS[options.command](options, Paths(root.resolve()))


def _out(text: str) -> None:
    print(text)  # noqa: T201


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201
