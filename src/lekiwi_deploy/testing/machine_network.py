"""A network of the test's own: one namespace with the server's address in it, and a cable to each machine.

Machines reach the server's side and nothing else: not each other, not this machine's network. Whoever runs in the server's side
(`Lan.command`, `Lan.entered`) reaches every machine.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lekiwi_deploy.testing.machine_leftovers import NAMESPACES, sweep_once, this_run
from lekiwi_deploy.testing.machine_tools import call, tried

SERVER = "10.83.0.1"
"""Where machines find the server's side. The same in every `Lan`: they do not see one another."""
_NEW_NETWORK = 0x40000000
_numbers = itertools.count(1)


class Lan:
    """Made on construction; `close` removes it."""

    def __init__(self) -> None:
        sweep_once()
        self.namespace = f"{this_run()}-lan{next(_numbers)}"
        self.address = SERVER
        self._hosts = itertools.count(10)
        call("ip", "netns", "add", self.namespace)
        self._ip("link", "set", "lo", "up")
        self._ip("address", "add", f"{SERVER}/32", "dev", "lo")

    @property
    def path(self) -> Path:
        """The namespace as a file, for `nsenter --net=`."""
        return NAMESPACES / self.namespace

    def attach(self, namespace: str) -> str:
        """Make the namespace of a machine with a cable to here; gives the machine's address."""
        number = next(self._hosts)
        address, cable = SERVER.rpartition(".")[0] + f".{number}", f"robot{number}"
        call("ip", "netns", "add", namespace)
        call("ip", "-n", namespace, "link", "set", "lo", "up")
        self._ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        call("ip", "-n", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        call("ip", "-n", namespace, "link", "set", "eth0", "up")
        self._ip("link", "set", cable, "up")
        self._ip("route", "add", f"{address}/32", "dev", cable, "src", SERVER)
        return address

    def command(self, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` in the server's side."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the server's side: sockets that it opens belong there for as long as they live."""
        with in_namespace(self.path):
            yield

    def close(self) -> None:
        """Remove it, and every cable with it."""
        tried("ip", "netns", "delete", self.namespace)

    def _ip(self, *arguments: str) -> None:
        call("ip", "-n", self.namespace, *arguments)


@contextlib.contextmanager
def in_namespace(path: Path) -> Iterator[None]:
    """This thread is in the network namespace that `path` names, then in its own again. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(namespace: int) -> None:
        if libc.setns(namespace, _NEW_NETWORK) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)
