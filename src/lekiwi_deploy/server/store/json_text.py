"""Structs as the JSON text that PostgreSQL takes: it cannot hold a NUL, which a robot's output may well contain."""

from __future__ import annotations

import re

from lekiwi_deploy.wire.encoding import encode

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def json_text(value: object) -> str:
    """`value` as JSON for a `%s::jsonb` parameter; each NUL in it becomes U+FFFD."""
    data = encode(value)
    if rb"\u0000" in data:
        data = _NUL.sub(rb"\1\\ufffd", data)
    return data.decode()


def plain_text(text: str) -> str:
    """`text` for a text column; each NUL in it becomes U+FFFD."""
    return text.replace("\0", "\ufffd") if "\0" in text else text
