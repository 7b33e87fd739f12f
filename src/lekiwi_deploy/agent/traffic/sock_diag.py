"""Asking the kernel about TCP sockets of one port (sock_diag(7)): it filters, so that this costs well under a millisecond where reading
`/proc/net/tcp` costs many. Where the kernel was built without it, that table is read."""

import errno
import os
import socket
import struct

_SOCK_DIAG, _FILTER = 4, 1
_BY_FAMILY, _ERROR, _DONE = 20, 2, 3
_REQUEST_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")
_ASK = struct.Struct("=BBBBI48x")
_CONDITION = struct.Struct("=BBHBBH")  # two operations of four bytes: the comparison, and the port it compares with
_SOURCE_PORT_AT_LEAST, _SOURCE_PORT_AT_MOST = 2, 3
_INODE = struct.Struct("=I")

_ESTABLISHED, _SYN_RECEIVED, _CLOSE_WAIT, _LISTEN = 1, 3, 8, 10
_CONNECTED = (_ESTABLISHED, _SYN_RECEIVED, _CLOSE_WAIT)


class Listener:
    """A socket that listens. `address`: as it was bound, `0.0.0.0` and `::` are all of them."""

    __slots__ = ("address", "inode")  # no dataclass or NamedTuple: the relay would pay 5 ms for what they import

    def __init__(self, address: str, inode: int) -> None:
        self.address = address
        self.inode = inode


def listeners(port: int) -> tuple[Listener, ...]:
    """Who listens on TCP `port`, on whatever address of this machine. Raises `OSError`."""
    return tuple(_sockets(port, (_LISTEN,)))


def established(port: int) -> int:
    """How many connections TCP `port` of this machine has that somebody may still expect an answer on. Raises `OSError`."""
    return len(_sockets(port, _CONNECTED))


def is_loopback(address: str) -> bool:
    """Whether it can be reached from this machine only."""
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")


def _sockets(port: int, states: tuple[int, ...]) -> list[Listener]:
    found: list[Listener] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
            for family in (socket.AF_INET, socket.AF_INET6):
                kernel.send(_question(family, port, states))
                found += _answers(kernel)
    except OSError as error:
        if error.errno not in (
            errno.ENOENT,
            errno.EPROTONOSUPPORT,
            errno.EAFNOSUPPORT,
            errno.EOPNOTSUPP,
            errno.EACCES,
            errno.EPERM,
        ):
            raise
        return _in_table(port, states)
    return found


def _question(family: int, port: int, states: tuple[int, ...]) -> bytes:
    # The program of the filter: each comparison that fails jumps past the end, which refuses the socket.
    program = _CONDITION.pack(_SOURCE_PORT_AT_LEAST, 8, 20, 0, 0, port) + _CONDITION.pack(
        _SOURCE_PORT_AT_MOST, 8, 12, 0, 0, port
    )
    mask = sum(1 << state for state in states)
    body = _ASK.pack(family, socket.IPPROTO_TCP, 0, 0, mask) + struct.pack("=HH", 4 + len(program), _FILTER) + program
    return _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST_DUMP, 1, 0) + body


def _answers(kernel: socket.socket) -> list[Listener]:
    found: list[Listener] = []
    while True:
        data = kernel.recv(1 << 16)
        at = 0
        while at < len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            body = at + _HEADER.size
            if kind == _DONE:
                return found
            if kind == _ERROR:
                code = -struct.unpack_from("=i", data, body)[0]
                raise OSError(code, os.strerror(code))
            family = data[body]
            size = 4 if family == socket.AF_INET else 16
            address = socket.inet_ntop(family, data[body + 8 : body + 8 + size])
            found.append(Listener(address, _INODE.unpack_from(data, body + 68)[0]))
            at += (length + 3) & ~3


def _in_table(port: int, states: tuple[int, ...]) -> list[Listener]:
    suffix, wanted = f":{port:04X}", {f"{state:02X}" for state in states}
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:  # noqa: PTH123
                lines = file.read().splitlines()[1:]
        except FileNotFoundError:  # no IPv6 here
            continue
        for line in lines:
            if suffix not in line:
                continue
            fields = line.split()
            if fields[1].endswith(suffix) and fields[3] in wanted:
                found.append(Listener(_address(fields[1].partition(":")[0]), int(fields[9])))
    return found


def _address(words: str) -> str:
    """The kernel prints an address as words of the machine's own byte order."""
    raw = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)
