"""`lekiwi-agent`: what runs on a robot."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from lekiwi_deploy import __version__
from lekiwi_deploy.agent import hold_commands
from lekiwi_deploy.agent.install.verbs import HANDLERS as INSTALL_HANDLERS
from lekiwi_deploy.agent.install.verbs import add_parsers as add_install_parsers
from lekiwi_deploy.agent.install.verbs import run as run_install
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.errors import EXIT_CODE, BadInput, LekiwiError

_EPILOG = (
    "exit codes: 0 ok, 1 failed, 2 usage, 3 not allowed, 4 not found, 5 failed and rolled back, 7 timed out, 9 conflict"
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Parse, run, and exit with a code of `errors.EXIT_CODE`."""
    options = parser().parse_args(arguments)
    try:
        code = _COMMANDS[options.command](options)
    except LekiwiError as error:
        _fail(error, as_json=getattr(options, "json", False))
        code = EXIT_CODE[error.code]
    except PermissionError as error:
        _say(f"error: {error.filename or error}: permission denied; run it as the robot's administrator (sudo)")
        code = EXIT_CODE["not_allowed"]
    except OSError as error:
        _say(f"error: {error}")
        code = EXIT_CODE["failed"]
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 1
    sys.exit(code)


def parser() -> argparse.ArgumentParser:
    """What may stand on the command line."""
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument(
        "--root",
        metavar="DIR",
        default=os.environ.get("LEKIWI_ROOT", "/"),
        help="folder that holds all of the robot (default /)",
    )
    json_flag = argparse.ArgumentParser(add_help=False)
    json_flag.add_argument("--json", action="store_true", help="one JSON object on stdout")
    top = argparse.ArgumentParser(prog="lekiwi-agent", description=__doc__, epilog=_EPILOG)
    top.add_argument("--version", action="version", version=f"lekiwi-agent {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    join = commands.add_parser("join", parents=[root, json_flag], help="make this machine a robot of a server")
    join.add_argument("url", metavar="URL", help="the server, as `lekiwi robots add` prints it")
    join.add_argument("--token", required=True, help="the join token: single use, 15 minutes; - reads it from stdin")
    join.add_argument(
        "--port-offset",
        type=int,
        default=0,
        metavar="N",
        help="added to every service's port (many robots on one machine)",
    )
    join.add_argument(
        "--max-deployments",
        type=int,
        metavar="N",
        help="how many deployments stay on this robot, to go back to without a download (default 100)",
    )
    join.add_argument("--insecure-http", action="store_true", help="allow plain HTTP to a machine other than this one")
    join.add_argument("--again", action="store_true", help="although it joined before; what runs goes on")

    run = commands.add_parser(
        "run",
        parents=[root],
        help="run the agent in the foreground",
        description="Run the agent until SIGTERM or Ctrl-C. It then stops the services that it runs, unless "
        "--leave-services is given. When it dies in any other way its services run on, and the next agent takes them over.",
    )
    run.add_argument("--leave-services", action="store_true", help="on SIGTERM or Ctrl-C, let the services run on")

    run.add_argument(
        "--halves",
        action="store_true",
        help="do no network here: leave it to `lekiwi-agent net`, run by another user (how systemd runs it)",
    )
    run.add_argument(
        "--net-user",
        metavar="USER",
        help="with --halves: the user of the other half (default lekiwi-agent; when not run by root, the same user)",
    )

    net = commands.add_parser(
        "net",
        parents=[root],
        help="run the agent's other half: the network, without rights",
        description="Keep the link to the server and download for a `lekiwi-agent run --halves` of the same root. Reads the "
        "robot's key; needs no rights.",
    )
    net.add_argument(
        "--try", dest="only_try", action="store_true", help="only find out whether the server can be reached"
    )

    commands.add_parser(
        "guard",
        parents=[root],
        help="go over to a new release of the agent and watch it, or go back (started by systemd)",
    )
    commands.add_parser(
        "open-variables",
        parents=[root],
        help="open the sealed variables of what starts at boot (started by systemd)",
    )
    commands.add_parser("self-check", parents=[root], help="whether this release of the agent works on this robot")

    commands.add_parser(
        "status", parents=[root, json_flag], help="what this robot runs, and how it is; needs no network"
    )

    rollback = commands.add_parser(
        "rollback",
        parents=[root, json_flag],
        help="go back to an earlier deployment and stay there; needs no network",
        description="Go back and pin the robot there until `lekiwi-agent resume`, `lekiwi robots resume`, or a newer "
        "deployment. When no agent runs it is done all the same, and the services are left running.",
    )
    rollback.add_argument(
        "--to",
        metavar="ID",
        help="a deployment on this robot: id, beginning of an id, or version (default: the previous good one)",
    )
    rollback.add_argument("--reason", default="", help="why, for the history")
    rollback.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds to wait until it is healthy (default 60)"
    )

    commands.add_parser("resume", parents=[root, json_flag], help="end the pin: follow the server again")
    add_install_parsers(commands, root, json_flag)
    hold_commands.add_parsers(commands, [root, json_flag])
    commands.add_parser("version", parents=[json_flag], help="print the version")
    return top


def _join(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.join import join
    from lekiwi_deploy.wire.encoding import encode

    token = sys.stdin.readline() if options.token == "-" else options.token
    if not token.strip():
        raise BadInput("the token is empty", next=("lekiwi robots add NAME --group GROUP",))
    config = join(
        _paths(options),
        options.url,
        token,
        port_offset=options.port_offset,
        max_deployments=options.max_deployments,
        insecure_http=options.insecure_http,
        again=options.again,
    )
    root = "" if options.root == "/" else f" --root {options.root}"
    _say(f"joined {config.server} as {config.robot} ({config.project}, {config.environment})")
    _say(f"next: lekiwi-agent run{root}")
    if options.json:
        _out(encode(config).decode())
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.halves:
        from lekiwi_deploy.agent.net.without_network import forbid

        forbid()
    from lekiwi_deploy.agent.config import read_config
    from lekiwi_deploy.agent.net.choose import net_user
    from lekiwi_deploy.agent.run import run

    if options.net_user and not options.halves:
        raise BadInput("--net-user is about --halves: add it, or leave both out")
    read_config(_paths(options))
    user = net_user(options.net_user) if options.halves else None
    run(_paths(options), leave_services=options.leave_services, net_user=user)
    return 0


def _net(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.net.run_net import run_net, try_server

    if options.only_try:
        _say(f"{try_server(_paths(options))} can be reached")
    else:
        run_net(_paths(options))
    return 0


def _guard(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.self_update.guard import guard

    return guard(_paths(options), _say)


def _open_variables(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.supervisors.systemd.sealed_unit import open_variables

    return 1 if open_variables(_paths(options), _say) else 0


def _self_check(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.self_update.self_check import self_check

    _out(self_check(_paths(options)))
    return 0


def _status(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.ask import ask, status_text
    from lekiwi_deploy.wire.encoding import encode
    from lekiwi_deploy.wire.local import RobotHere, StatusPlease

    here = ask(_paths(options), StatusPlease(), RobotHere, timeout_s=10)
    _out(encode(here).decode() if options.json else status_text(here))
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.ask import NoAgent, ask
    from lekiwi_deploy.agent.config import read_config
    from lekiwi_deploy.agent.run import roll_back_alone
    from lekiwi_deploy.wire.local import Moved, RollBackPlease

    request = RollBackPlease(to=options.to, by=_who(), why=options.reason, timeout_s=max(0.0, options.timeout))
    paths = _paths(options)
    try:
        moved = ask(paths, request, Moved, timeout_s=request.timeout_s + 30)
    except NoAgent:
        read_config(paths)
        _say("no agent runs here: doing it without one")
        moved = roll_back_alone(paths, request)
        _say("done without an agent: nobody restarts the services if they fail; start it with `lekiwi-agent run`")
    return _moved(moved, options.json)


def _resume(options: argparse.Namespace) -> int:
    from lekiwi_deploy.agent.ask import ask
    from lekiwi_deploy.wire.local import Moved, ResumePlease

    return _moved(ask(_paths(options), ResumePlease(by=_who()), Moved, timeout_s=10), options.json)


def _moved(moved: object, as_json: bool) -> int:
    from lekiwi_deploy.wire.encoding import encode
    from lekiwi_deploy.wire.local import Moved

    assert isinstance(moved, Moved)
    if as_json:
        _out(encode(moved).decode())
    else:
        change = f"{moved.before or 'nothing'} -> {moved.deployment or 'nothing'}" if moved.changed else "no change"
        took = f" in {moved.seconds:.2f} s" if moved.healthy is not None else ""
        _out(f"{change}: {moved.text}{took}")
        _say(f"undo: {moved.undo}")
    if moved.undo.startswith("lekiwi-agent rollback"):
        return 0
    return {True: 0, False: EXIT_CODE["rolled_back"], None: EXIT_CODE["timed_out"]}[moved.healthy]


def _version(options: argparse.Namespace) -> int:
    from lekiwi_deploy.wire.protocol import PROTOCOL

    if options.json:
        _out(f'{{"schema":"lekiwi.version/1","agent":"{__version__}","protocol":{PROTOCOL}}}')
    else:
        _out(f"lekiwi-agent {__version__} (protocol {PROTOCOL})")
    return 0


_COMMANDS = {
    "join": _join,
    "run": _run,
    "net": _net,
    "guard": _guard,
    "open-variables": _open_variables,
    "self-check": _self_check,
    "status": _status,
    "rollback": _rollback,
    "resume": _resume,
    "hold": lambda options: hold_commands.hold(options, _terminal()),
    "holds": lambda options: hold_commands.holds(options, _terminal()),
    "release": lambda options: hold_commands.release(options, _terminal()),
    "why": lambda options: hold_commands.why(options, _terminal()),
    "version": _version,
    **dict.fromkeys(INSTALL_HANDLERS, run_install),
}


def _paths(options: argparse.Namespace) -> Paths:
    root = Path(options.root)
    if root.exists() and not root.is_dir():
        raise BadInput(f"--root {root} is not a folder")
    return Paths(root.resolve())


def _terminal() -> hold_commands.Terminal:
    return hold_commands.Terminal(paths=_paths, out=_out, say=_say, who=_who)


def _who() -> str:
    name = os.environ.get("SUDO_USER")
    if name is None:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            name = str(os.getuid())
    return f"{name} on the robot"


def _fail(error: LekiwiError, *, as_json: bool) -> None:
    if as_json:
        from lekiwi_deploy.wire.api import ErrorBody
        from lekiwi_deploy.wire.encoding import encode

        _out(
            encode(
                ErrorBody(code=error.code, message=error.message, next=error.next, details=dict(error.details))
            ).decode()
        )
    _say(f"error: {error.message}")
    for line in error.next:
        _say(f"  {line}")


def _out(text: str) -> None:
    print(text)  # noqa: T201


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201
