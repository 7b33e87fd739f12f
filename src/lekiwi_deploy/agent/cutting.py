"""Ending the connections to a port whose time to drain is over, without its process: the kernel resets them (sock_diag(7), SOCK_DESTROY)."""

from __future__ import annotations

import os
import socket
import struct

_SOCK_DIAG, _BY_FAMILY, _DESTROY = 4, 20, 21
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ASK = struct.Struct("=BBBBI")
_ID_SIZE = 48
_CONNECTED = sum(1 << state for state in (1, 2, 3, 4, 5, 8))  # established, on the way in, or half closed


def cut(port: int) -> bool:
    """Reset every TCP connection to `port` of this machine. False: that is not allowed, or the kernel cannot."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as kernel:
            for family in (socket.AF_INET, socket.AF_INET6):
                for name in _connections(kernel, family, port):
                    kernel.send(_message(_DESTROY, _REQUEST | _ACK, family, name))
                    _raise(kernel.recv(1 << 16))
    except FileNotFoundError:
        return True  # the last one ended by itself meanwhile
    except OSError:
        return False
    return True


def _connections(kernel: socket.socket, family: int, port: int) -> list[bytes]:
    """What the kernel calls them."""
    kernel.send(_message(_BY_FAMILY, _REQUEST | _DUMP, family, bytes(_ID_SIZE)))
    found: list[bytes] = []
    while True:
        data = kernel.recv(1 << 16)
        at = 0
        while at < len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if kind == _DONE:
                return found
            if kind == _ERROR:
                _raise(data[at:])
            body = at + _HEADER.size
            name = data[body + 4 : body + 4 + _ID_SIZE]
            if name[:2] == port.to_bytes(2, "big"):
                found.append(name)
            at += (length + 3) & ~3


def _message(kind: int, flags: int, family: int, name: bytes) -> bytes:
    body = _ASK.pack(family, socket.IPPROTO_TCP, 0, 0, _CONNECTED) + name
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _raise(data: bytes) -> None:
    """If the kernel's answer is an error."""
    (code,) = struct.unpack_from("=i", data, _HEADER.size)
    if code:
        raise OSError(-code, os.strerror(-code))
