"""One connection through the relay: a client and the service, bytes carried both ways until both have ended.

Each way on its own: an end (half-close) is passed on once everything before it is; while one side does not take what it was sent, the
other is not read (backpressure). A reset is passed on as a reset.
"""

import socket
import struct
from collections.abc import Callable
from select import EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, epoll

_CHUNK = bytearray(256 << 10)
_VIEW = memoryview(_CHUNK)  # one for all: what a side does not take at once is copied
_RESET = struct.pack("ii", 1, 0)


def reset(sock: socket.socket) -> None:
    """Close at once; the peer is told with RST, and that nothing it sent is to be relied on."""
    try:  # noqa: SIM105  contextlib would be another 2 ms to start
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    except OSError:
        pass
    sock.close()


class Side:
    """One of the two sockets. `rest`: what is still to be written to it; `arrived`: how many bytes it has given us."""

    __slots__ = ("arrived", "ended", "fd", "mask", "other", "pair", "rest", "shut", "sock")

    def __init__(self, sock: socket.socket, pair: "Pair") -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.pair = pair
        self.other: Side = self
        self.rest = b""
        self.arrived = 0
        self.ended = False  # its peer sends no more
        self.shut = False  # we send no more
        self.mask = 0

    def ready(self, events: int) -> None:
        """The kernel says that it can be read or written, or is broken."""
        try:
            if events & EPOLLERR:
                self._broken()
            elif events & EPOLLOUT and self.rest:
                self._write()
            elif events & (EPOLLIN | EPOLLHUP):
                self._read()
        except BlockingIOError:
            pass
        except OSError:  # reset by whoever is at the other end, or gone
            self.pair.break_off()

    def _broken(self) -> None:
        """Its peer sent a reset. What had arrived before (an answer, as a rule) is delivered as if it had closed."""
        before = self.arrived
        try:
            while not self.ended and not self.other.rest:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            if self.arrived == before:
                raise
            self.ended = self.shut = True
            self.rest = b""
            self.other.end()
            self.pair.wait()

    def _read(self) -> None:
        if self.ended or self.other.rest:
            return
        count = self.sock.recv_into(_CHUNK)
        self.arrived += count
        other = self.other
        if not count:
            self.ended = True
            other.end()
            self.pair.wait()
            return
        try:
            sent = other.sock.send(_VIEW[:count])
        except BlockingIOError:
            sent = 0
        if sent < count:
            other.rest = bytes(_VIEW[sent:count])
            self.pair.wait()

    def _write(self) -> None:
        self.rest = self.rest[self.sock.send(self.rest) :]
        if not self.rest:
            if self.other.ended:
                self.end()
            self.pair.wait()

    def end(self) -> None:
        """Tell its peer that no more comes."""
        if not self.rest and not self.shut:
            self.shut = True
            self.sock.shutdown(socket.SHUT_WR)


class Pair:
    """`closed` is called once, with the pair, when it is over."""

    __slots__ = ("_closed", "_sides", "_waits", "client", "private", "service")

    def __init__(
        self,
        client: socket.socket,
        service: socket.socket,
        private: int,
        waits: epoll,
        sides: dict[int, Side],
        closed: Callable[["Pair"], None],
    ) -> None:
        self.client = Side(client, self)
        self.service = Side(service, self)
        self.client.other, self.service.other = self.service, self.client
        self.private = private
        self._waits = waits
        self._sides = sides
        self._closed = closed

    def start(self) -> None:
        """Begin to carry."""
        try:
            self.wait()
        except OSError:  # the kernel does not watch more sockets for us
            self.break_off()

    def wait(self) -> None:
        """Wait for what each side can do next; over when neither can do anything any more."""
        client, service = self.client, self.service
        if client.shut and service.shut:
            self._over(socket.socket.close)
            return
        for side in (client, service):
            mask = (EPOLLIN if not side.ended and not side.other.rest else 0) | (EPOLLOUT if side.rest else 0)
            if mask == side.mask:
                continue
            if not side.mask:
                self._sides[side.fd] = side
                self._waits.register(side.fd, mask)
            elif mask:
                self._waits.modify(side.fd, mask)
            else:  # the kernel would go on telling of a peer that hung up, although nothing can be done about it now
                del self._sides[side.fd]
                self._waits.unregister(side.fd)
            side.mask = mask

    def break_off(self) -> None:
        """Reset both."""
        self._over(reset)

    def _over(self, close: Callable[[socket.socket], None]) -> None:
        for side in (self.client, self.service):
            if side.mask:
                side.mask = 0
                del self._sides[side.fd]
                self._waits.unregister(side.fd)
            side.shut = side.ended = True
            close(side.sock)
        self._closed(self)
