"""The relay: a small process that listens on the public ports and carries every connection to a private port of this machine.

    python -m lekiwi_deploy.agent.traffic.relay_process FD PATH [SECONDS]

FD: a listening Unix socket, at PATH, for the words of `relay_words.py`. It outlives the agent that started it, and is found by the
next one at PATH. It ends when it is told to, or when there is nothing to carry and no port to listen on. Without an agent it looks every
SECONDS: when PATH is no longer its own, or nobody listened behind any of its ports at two looks, it lets go of them.
No library is used that costs memory or time to start: there is one on every robot.
"""

import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from time import monotonic as _clock

from lekiwi_deploy.agent.traffic.relay_doors import Doors
from lekiwi_deploy.agent.traffic.relay_pair import Side
from lekiwi_deploy.agent.traffic.relay_words import LANGUAGE, LONGEST_LINE, read_targets, targets_line

_FIRST_S = 10.0
"""How long the agent that started it may take to turn to it."""
_LOOK_S = 10.0


class Relay:
    """`control`: the listening Unix socket. `path`: where it is. `look_s`: how often it looks whether it is of any use, without an agent."""

    def __init__(self, control: socket.socket, path: str, look_s: float) -> None:
        self._look_s = look_s
        self._look_at = 0.0
        self._useless = 0
        self._waits = select.epoll()
        self._sides: dict[int, Side] = {}
        self._handlers: dict[int, Callable[[], None]] = {}
        self._doors = Doors(self._waits, self._sides, self._handlers)
        self._control = control
        self._path = path
        self._identity = _identity(path)
        self._agents: dict[int, tuple[socket.socket, bytearray]] = {}
        self._wanted = True  # somebody is about to tell us of ports
        self._told_to_end = False
        control.setblocking(False)
        self._listen_to(control.fileno(), self._welcome)

    def run(self) -> None:
        """Until it is over."""
        sides, handlers, poll = self._sides, self._handlers, self._waits.poll
        self._wanted = bool(poll(_FIRST_S))
        while not self._over():
            for fd, events in poll(None if self._agents else self._look_s, 256):
                side = sides.get(fd)
                if side is not None:
                    side.ready(events)
                elif fd in handlers:
                    handlers[fd]()
            if self._agents:
                self._useless = 0
            elif _clock() >= self._look_at:
                self._look_at = _clock() + self._look_s
                self._look()

    def _look(self) -> None:
        """Without an agent: go on only as long as one can find us, and there is something behind the ports."""
        found = _identity(self._path) == self._identity
        self._useless = 0 if self._doors.lead_somewhere() else self._useless + 1
        if not found or self._useless > 1:
            self._doors.lead({})  # take no new connections, and end with the last one

    def _over(self) -> bool:
        idle = not self._doors.targets and not self._doors.pairs and not self._doors.connecting
        return self._told_to_end or (idle and not self._wanted)

    def _listen_to(self, fd: int, handler: Callable[[], None]) -> None:
        self._handlers[fd] = handler
        self._waits.register(fd, select.EPOLLIN)

    def _welcome(self) -> None:
        try:
            agent, _ = self._control.accept()
        except OSError:  # gone again
            return
        agent.setblocking(False)
        self._agents[agent.fileno()] = agent, bytearray()
        self._listen_to(agent.fileno(), lambda: self._hear(agent))

    def _hear(self, agent: socket.socket) -> None:
        heard = self._agents[agent.fileno()][1]
        try:
            piece = agent.recv(LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        heard += piece
        try:
            while (end := heard.find(b"\n")) >= 0:
                line = bytes(heard[:end])
                del heard[: end + 1]
                agent.sendall(self._answer(line))
        except OSError:
            piece = b""
        if not piece or len(heard) > LONGEST_LINE:
            fd = agent.fileno()
            self._waits.unregister(fd)
            del self._handlers[fd], self._agents[fd]
            agent.close()
            self._wanted = False

    def _answer(self, line: bytes) -> bytes:
        verb, *words = line.decode(errors="replace").split() or [""]
        try:
            match verb, words:
                case "hello", []:
                    return b"ok %d %d\n" % (LANGUAGE, os.getpid())
                case "targets", []:
                    return targets_line("ok", self._doors.targets)
                case "lead", _:
                    refused = self._doors.lead(read_targets(words))
                    self._wanted = False
                    return b"ok\n" if refused is None else b"taken %d %d\n" % refused
                case "connections", [port]:
                    return b"ok %d\n" % self._doors.connections(int(port))
                case "end", []:
                    self._told_to_end = True
                    return b"ok\n"
        except ValueError:
            pass
        return b"what\n"


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


def main() -> None:
    """See the module."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):  # meant for whoever started it
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (hard, hard))
    Relay(control, sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else _LOOK_S).run()


if __name__ == "__main__":
    main()
