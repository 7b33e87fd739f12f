"""`python -m kiwi.base`: the ports are in KIWI_COMMAND_PORT and KIWI_OBSERVATION_PORT, else 5555 and 5556."""

from __future__ import annotations

import os
import signal
import sys

import zmq

from kiwi.base.host import Host
from kiwi.common.hardware import Hardware


def _port(name: str, default: int) -> int:
    text = os.environ.get(name, "") or str(default)
    if not text.isdigit() or not 0 < int(text) < 65536:
        sys.exit(f"{name} must be a port number, not {text!r}")
    return int(text)


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: stopping.append(received))
    commands, observations = _port("KIWI_COMMAND_PORT", 5555), _port("KIWI_OBSERVATION_PORT", 5556)
    # Everything is imported by now. The version that runs still drives, and has the ports: both become ours here.
    with Hardware("motors"):
        try:
            host = Host(commands, observations)
        except zmq.ZMQError as error:
            sys.exit(f"cannot listen on ports {commands} and {observations}: {error}")
        print(f"motors ready; commands on {host.command_port}, observations on {host.observation_port}", flush=True)
        host.run(lambda: bool(stopping))
        host.close()
        print("wheels stopped, motors released", flush=True)


main()
