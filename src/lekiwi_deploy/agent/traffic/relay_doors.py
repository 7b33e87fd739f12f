"""The relay's listening sockets, and what happens to whoever comes in."""

import errno
import socket
from collections.abc import Callable, Mapping
from select import EPOLLIN, EPOLLOUT, epoll

from lekiwi_deploy.agent.traffic.relay_pair import Pair, Side, reset
from lekiwi_deploy.agent.traffic.sock_diag import is_loopback, listeners

_BACKLOG = 4096
_AT_ONCE = 64
"""How many are let in before others get their turn."""
_HOSTS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Doors:
    """`targets`: public port → private port, in force. `pairs`: the connections."""

    def __init__(self, waits: epoll, sides: dict[int, Side], handlers: dict[int, Callable[[], None]]) -> None:
        self.targets: dict[int, int] = {}
        self.pairs: set[Pair] = set()
        self.connecting = 0
        self._waits = waits
        self._sides = sides
        self._handlers = handlers
        self._listening: dict[int, socket.socket] = {}
        self._first: dict[int, int] = {}  # private port → which of _HOSTS answered last
        self._open: dict[int, bool] = {}  # private port → whether its service listens on more than loopback
        self._full = False  # no descriptor could be had since the last connection ended
        self._locked = False  # nobody is let in
        self._waiting: list[tuple[socket.socket, int]] = []  # who was let in, but the service could not be connected to

    def lead(self, targets: Mapping[int, int]) -> tuple[int, int] | None:
        """Make these in force, all at once. The public port that cannot be listened on, and the errno; then nothing has changed."""
        new: dict[int, socket.socket] = {}
        for public in sorted(targets.keys() - self._listening.keys()):
            try:
                new[public] = _listen(public)
            except OSError as error:
                for listening in new.values():
                    listening.close()
                return public, error.errno or 0
        for public in self._listening.keys() - targets.keys():
            self._let_in(public, 1 << 16)  # whoever the kernel has already answered is served
            listening = self._listening.pop(public)
            del self._handlers[listening.fileno()]
            if not self._locked:
                self._waits.unregister(listening.fileno())
            listening.close()
        self.targets = dict(targets)
        for public, listening in new.items():
            self._listening[public] = listening
            self._handlers[listening.fileno()] = lambda public=public: self._let_in(public, _AT_ONCE)  # type: ignore[misc]
            if not self._locked:
                self._waits.register(listening.fileno(), EPOLLIN)
        self._first = {private: self._first.get(private, 0) for private in targets.values()}
        self._open = {}
        return None

    def lead_somewhere(self) -> bool:
        """Whether somebody listens behind any of the ports, or is being talked to."""
        try:
            return bool(self.pairs) or any(listeners(private) for private in self.targets.values())
        except OSError:  # the kernel does not tell now
            return True

    def connections(self, private: int) -> int:
        """How many go to that private port now."""
        return sum(pair.private == private for pair in self.pairs)

    def _let_in(self, public: int, at_most: int) -> None:
        listening, private = self._listening[public], self.targets[public]
        for _ in range(at_most):
            try:
                client, peer = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:
                    self._wait_for_room()
                    return
                continue  # that one went away again
            if not is_loopback(peer[0]) and not self._is_open(private):
                reset(client)
                continue
            client.setblocking(False)
            self._connect(client, private, self._first.get(private, 0), 0)

    def _is_open(self, private: int) -> bool:
        """Whether other machines may reach it: a service that listens on loopback only is meant for this machine."""
        known = self._open.get(private)
        if known is None:
            try:
                found = listeners(private)
            except OSError:  # no descriptor left to ask with: as when there is none for the connection
                return False
            known = any(not is_loopback(each.address) for each in found)
            if found:
                self._open[private] = known
        return known

    def _connect(self, client: socket.socket, private: int, host: int, tried: int) -> None:
        """To the private port, on 127.0.0.1 or ::1, whichever answers; the client is reset when neither does."""
        family, address = _HOSTS[host]
        try:
            service = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            if error.errno in _FULL:
                self._waiting.append((client, private))
                self._wait_for_room()
            else:
                self._next_host(client, private, host, tried)
            return
        code = service.connect_ex((address, private))
        if code == errno.EINPROGRESS:
            self.connecting += 1
            fd = service.fileno()
            self._handlers[fd] = lambda: self._answered(client, service, private, host, tried)
            self._waits.register(fd, EPOLLOUT)
        elif code:
            service.close()
            self._next_host(client, private, host, tried)
        else:
            self._join(client, service, private, host)

    def _answered(self, client: socket.socket, service: socket.socket, private: int, host: int, tried: int) -> None:
        self.connecting -= 1
        self._waits.unregister(service.fileno())
        del self._handlers[service.fileno()]
        if service.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            service.close()
            self._next_host(client, private, host, tried)
        else:
            self._join(client, service, private, host)

    def _next_host(self, client: socket.socket, private: int, host: int, tried: int) -> None:
        if tried + 1 < len(_HOSTS):
            self._connect(client, private, (host + 1) % len(_HOSTS), tried + 1)
        else:
            reset(client)
            self._room()

    def _join(self, client: socket.socket, service: socket.socket, private: int, host: int) -> None:
        if private in self._first:
            self._first[private] = host
        service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pair = Pair(client, service, private, self._waits, self._sides, self._closed)
        self.pairs.add(pair)
        pair.start()

    def _closed(self, pair: Pair) -> None:
        self.pairs.discard(pair)
        self._room()

    def _wait_for_room(self) -> None:
        """No more descriptors or memory: let nobody in (they wait in the kernel's queue) until somebody leaves."""
        self._full = True
        if not self._locked:
            self._locked = True
            for listening in self._listening.values():
                self._waits.unregister(listening.fileno())

    def _room(self) -> None:
        if self._full:
            self._full = False
            waiting, self._waiting = self._waiting, []
            for client, private in waiting:
                self._connect(client, private, self._first.get(private, 0), 0)
        if not self._full and self._locked:
            self._locked = False
            for listening in self._listening.values():
                self._waits.register(listening.fileno(), EPOLLIN)


def _listen(port: int) -> socket.socket:
    """On every address of this machine, IPv4 and IPv6. Raises `OSError`."""
    try:
        listening = socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        address = "::"
    except OSError:  # no IPv6 here
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        address = "0.0.0.0"
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # both are inherited by what is accepted
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind((address, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
