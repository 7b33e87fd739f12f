"""Which relative paths and link targets may exist in a slot.

Rules of a single path. What several paths must not do to each other stands in `entries.py`.
"""

from __future__ import annotations

import unicodedata

from lekiwi_deploy.errors import BadInput

MAX_DEPTH = 24
MAX_PART = 200
"""Bytes of UTF-8 in one part of a path."""
MAX_PATH = 1023
"""Bytes of UTF-8 in a whole path."""

_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line and paragraph separators


class BadEntry(BadInput):
    """An entry that may not exist in a deployment. `details["path"]` names it."""

    def __init__(self, path: str, reason: str) -> None:
        shown = ascii(path if len(path) <= 120 else path[:120] + "…")
        super().__init__(f"{shown} cannot be deployed: {reason}", details={"path": shown, "reason": reason})
        self.path = path
        self.reason = reason


def check_path(path: str) -> None:
    """Raise `BadEntry` unless `path` is relative, normal, and the same on every file system that we meet."""
    if not path.isascii() or not path.isprintable():
        _check_text(path)
    if "\\" in path:
        raise BadEntry(path, "it contains a backslash")
    if path.startswith("/"):
        raise BadEntry(path, "it is absolute")
    parts = path.split("/")
    if "" in parts:
        raise BadEntry(path, "it has an empty part" if path else "it is empty")
    if "." in parts or ".." in parts:
        raise BadEntry(path, "it has a part '.' or '..'")
    if len(parts) > MAX_DEPTH:
        raise BadEntry(path, f"it is {len(parts)} levels deep, {MAX_DEPTH} are allowed")
    if len(path) > MAX_PART // 4 and max(len(part.encode()) for part in parts) > MAX_PART:
        raise BadEntry(path, f"a part of it is longer than {MAX_PART} bytes")
    if len(path) > MAX_PATH // 4 and len(path.encode()) > MAX_PATH:
        raise BadEntry(path, f"it is longer than {MAX_PATH} bytes")
    if ".git" in path.lower() and any(part.lower() == ".git" for part in parts):
        raise BadEntry(path, "it lies in a .git folder")


def _check_text(path: str) -> None:
    for character in path:
        category = unicodedata.category(character)
        if category in _FORBIDDEN:
            raise BadEntry(path, f"it contains the character U+{ord(character):04X}")
    if not unicodedata.is_normalized("NFC", path):
        raise BadEntry(path, "its Unicode is not in the composed form (NFC), so two names could look alike")


def check_link(path: str, target: str) -> None:
    """Raise `BadEntry` unless a symbolic link at `path` to `target` stays inside the slot.

    `..` may stand at the beginning only: the folders above a link are real ones (no entry lies below a link), so these
    resolve as written, while `..` after a name could pass through another link and come out anywhere.
    """
    if not target:
        raise BadEntry(path, "it is a symbolic link to nothing")
    if target.startswith("/"):
        raise BadEntry(path, f"it is a symbolic link to the absolute path {target[:120]!a}; use a relative one")
    parts = [part for part in target.split("/") if part not in ("", ".")]
    up = 0
    while up < len(parts) and parts[up] == "..":
        up += 1
    if up > path.count("/"):
        raise BadEntry(path, f"it is a symbolic link out of the deployment, to {target[:120]!a}")
    below = parts[up:]
    if ".." in below:
        raise BadEntry(path, f"it is a symbolic link with '..' after a name, {target[:120]!a}")
    try:
        if below:
            check_path("/".join(below))
    except BadEntry as error:
        raise BadEntry(path, f"it is a symbolic link to {target[:120]!a}, and {error.reason}") from error
