"""Changing what is in our map and set, by talking to the kernel directly (nfnetlink).

`nft` does the same, but waits in its last moment until the kernel has cleaned up what was replaced: 16 ms for a change that takes 0.1 ms.
The table itself is loaded by `nft` (`ruleset.py`).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping

_NETFILTER, _INET, _SUBSYSTEM = 12, 1, 10
_BEGIN, _END, _ERROR = 0x10, 0x11, 2
_ADD, _DELETE = _SUBSYSTEM << 8 | 12, _SUBSYSTEM << 8 | 14
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_HEADER = struct.Struct("=IHHII")
_TABLE, _SET, _ELEMENTS = 1, 2, 3
_ITEM, _KEY, _DATA, _VALUE = 1, 1, 2, 1
_NESTED = 0x8000
_ANSWER_S = 10.0


class NftElements:
    """A line to the kernel. `port` names it in the kernel's events. Raises `OSError`."""

    def __init__(self) -> None:
        self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETFILTER)
        self._kernel.bind((0, 0))
        self._kernel.settimeout(_ANSWER_S)
        self.port: int = self._kernel.getsockname()[0]
        self._sequence = 0

    def replace(self, targets: Mapping[int, int], led: Collection[int]) -> None:
        """Exactly these are in the map `ports` and the set `led` from now on, in one transaction. Raises `OSError`, for instance when
        there is no such table; then nothing has changed."""
        batch, last = transaction(self._sequence + 1, targets, led)
        first, self._sequence = self._sequence + 1, last
        self._kernel.send(batch)
        while True:  # every message is answered, once all of them are in force or none
            data = self._kernel.recv(1 << 16)
            at = 0
            while at + _HEADER.size <= len(data):
                length, kind, _, sequence, _ = _HEADER.unpack_from(data, at)
                if kind == _ERROR and first <= sequence <= last:
                    code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                    if code:
                        raise OSError(code, os.strerror(code))
                    if sequence == last:
                        return
                at += max((length + 3) & ~3, _HEADER.size)

    def close(self) -> None:
        """Hang up."""
        self._kernel.close()


def transaction(sequence: int, targets: Mapping[int, int], led: Collection[int]) -> tuple[bytes, int]:
    """The messages, numbered from `sequence`; and the number of the last one that is answered."""
    changes = list(_changes(targets, led))
    parts = [_message(_BEGIN, _REQUEST, sequence, _SUBSYSTEM, b"")]
    for number, (kind, flags, content) in enumerate(changes, sequence + 1):
        parts.append(_message(kind, _REQUEST | _ACK | flags, number, 0, content))
    last = sequence + len(changes)
    parts.append(_message(_END, _REQUEST, last + 1, _SUBSYSTEM, b""))
    return b"".join(parts), last


def _changes(targets: Mapping[int, int], led: Collection[int]) -> Iterator[tuple[int, int, bytes]]:
    pairs = [
        _attribute(_KEY | _NESTED, _port(public)) + _attribute(_DATA | _NESTED, _port(private))
        for public, private in sorted(targets.items())
    ]
    ports = [_attribute(_KEY | _NESTED, _port(port)) for port in sorted(led)]
    for name, elements in ((b"ports\0", pairs), (b"led\0", ports)):
        where = _attribute(_TABLE, b"lekiwi\0") + _attribute(_SET, name)
        yield _DELETE, 0, where
        if elements:
            items = b"".join(_attribute(_ITEM | _NESTED, element) for element in elements)
            yield _ADD, _CREATE, where + _attribute(_ELEMENTS | _NESTED, items)


def _port(number: int) -> bytes:
    return _attribute(_VALUE, number.to_bytes(2, "big"))


def _attribute(kind: int, content: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def _message(kind: int, flags: int, sequence: int, resource: int, content: bytes) -> bytes:
    family = _INET if resource == 0 else 0
    body = struct.pack("=BB", family, 0) + resource.to_bytes(2, "big") + content
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, sequence, 0) + body
