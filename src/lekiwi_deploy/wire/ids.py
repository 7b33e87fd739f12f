"""Names and identifiers: what is well-formed, and their types."""

from __future__ import annotations

import re
from typing import NewType

from lekiwi_deploy.errors import BadInput

DeploymentId = NewType("DeploymentId", str)
"""`dep_` + 8 base-62 characters; case matters."""
RolloutId = NewType("RolloutId", str)
"""`rol_` + 8 base-62 characters."""
UploadId = NewType("UploadId", str)
"""`upl_` + 8 base-62 characters."""
RobotId = NewType("RobotId", str)
"""A robot's name, unique on a server: 1-50 of a-z 0-9 . _ -, starting with a letter or digit."""
ProjectName = NewType("ProjectName", str)
EnvironmentName = NewType("EnvironmentName", str)
ManifestDigest = NewType("ManifestDigest", str)
"""SHA-256 of a manifest's stored bytes, 64 lower-case hex characters."""
ObjectDigest = NewType("ObjectDigest", str)
"""BLAKE3 of a file's content (of the target text for a symbolic link), 64 lower-case hex characters."""
InstanceId = NewType("InstanceId", str)
"""One version of a service on a robot, as a process: `<service>-<first 8 of its fingerprint>`."""

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_RESERVED = frozenset({"current", "deployments", "head", "null", "previous", "all", "none", "con"})


def base62(raw: bytes, length: int) -> str:
    """`length` base-62 characters out of random bytes (two bytes for each character)."""
    if len(raw) < 2 * length:
        raise ValueError(f"need {2 * length} random bytes, got {len(raw)}")
    pairs = (int.from_bytes(raw[2 * i : 2 * i + 2], "big") for i in range(length))
    return "".join(BASE62[pair % 62] for pair in pairs)


def is_digest(text: str) -> bool:
    """Whether `text` is 64 lower-case hex characters."""
    return _DIGEST.match(text) is not None


def checked_name(kind: str, text: str) -> str:
    """`text`, if it may name a project, environment or robot; `kind` is used in the message.

    Raises `BadInput` saying what is allowed.
    """
    if not _NAME.match(text) or text in _RESERVED or ".." in text or text.endswith((".git", ".lock")):
        raise BadInput(
            f"{text[:60]!r} cannot name {kind}: use 1-50 of a-z, 0-9, '.', '_', '-', starting with a letter "
            "or digit, and no reserved word",
        )
    return text
