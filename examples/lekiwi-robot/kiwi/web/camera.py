"""The camera, simulated: a ball that rolls over a chequered floor, as PNG."""

from __future__ import annotations

import math
import struct
import zlib

WIDTH, HEIGHT = 160, 120
_TILE = 20
_LIGHT, _DARK, _BALL = 0, 1, 2
_PALETTE = bytes((232, 232, 226, 196, 200, 190, 214, 84, 36))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pixels(seconds: float) -> list[bytes]:
    """`HEIGHT` rows of `WIDTH` palette indices: what is seen `seconds` after the start."""
    x = (WIDTH - 40) * (0.5 + 0.5 * math.sin(seconds)) + 20
    y = HEIGHT - 30 - 40 * abs(math.sin(2.3 * seconds))
    tiles = (bytes(_LIGHT if (column // _TILE) % 2 == phase else _DARK for column in range(WIDTH)) for phase in (0, 1))
    even, odd = tiles
    rows = [even if (row // _TILE) % 2 else odd for row in range(HEIGHT)]
    for row in range(max(0, int(y) - 15), min(HEIGHT, int(y) + 16)):
        half = math.sqrt(max(0.0, 15.0**2 - (row - y) ** 2))
        left, right = max(0, round(x - half)), min(WIDTH, round(x + half))
        rows[row] = rows[row][:left] + bytes([_BALL]) * (right - left) + rows[row][right:]
    return rows


def frame(seconds: float) -> bytes:
    """A PNG file with what is seen `seconds` after the start."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 3, 0, 0, 0)
    rows = b"".join(b"\0" + row for row in pixels(seconds))
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", _PALETTE),
            _chunk(b"IDAT", zlib.compress(rows, 1)),
            _chunk(b"IEND", b""),
        )
    )
