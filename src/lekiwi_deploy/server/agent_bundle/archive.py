"""Zip archives whose bytes depend on nothing but their members. PURE."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. `name` with slashes."""

    name: str
    data: bytes


def archive(members: Sequence[Member], *, compressed: bool) -> bytes:
    """The members, in their order, as one zip file. `compressed` False: for members that are compressed already."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for member in members:
            info = zipfile.ZipInfo(member.name, _LONG_AGO)
            info.create_system = 3  # Unix, on whatever this runs
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            file.writestr(info, member.data, compresslevel=6)
    return target.getvalue()
