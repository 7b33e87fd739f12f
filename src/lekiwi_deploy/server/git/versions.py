"""What a commit's version is called. PURE: `describe.py` reads git, this decides.

In order: a version tag on the commit (`v2.1.0`; tags of the same push count); the last version tag before it with the distance
(`v2.1.0-3-g8b71ff7`); what the project's own file says (`v0.2.0`); `0.0.0+8b71ff7`.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable

MAX_VERSION = 50
"""Characters that the database keeps."""

_VERSION_TAG = re.compile(r"v?\d+(\.\d+)*([-.+]?[0-9A-Za-z][0-9A-Za-z.+-]*)?\Z")
_NUMBER = re.compile(r"\d+")


def is_version_tag(name: str) -> bool:
    """Whether a tag of that name is a version: `v2.1.0`, `2.1`, `v2.1.0-rc.1`; not `nightly`, not `v`."""
    return len(name) <= MAX_VERSION and _VERSION_TAG.match(name) is not None


def _order(tag: str) -> tuple[tuple[int, ...], bool, str]:
    release, _, rest = tag.removeprefix("v").partition("-")
    return tuple(int(number) for number in _NUMBER.findall(release)), not rest, tag


def newest(tags: Iterable[str]) -> str | None:
    """The highest version among several tags of one commit: a release is above its own pre-releases."""
    fitting = [tag for tag in tags if is_version_tag(tag)]
    return max(fitting, key=_order) if fitting else None


def version_of(
    commit: str, *, tags_here: Iterable[str], last_tag: tuple[str, int] | None, project_version: str | None
) -> str:
    """The version of `commit` (40 hex). `last_tag`: the nearest version tag behind it and the number of commits since."""
    here = newest(tags_here)
    if here is not None:
        return here
    if last_tag is not None and is_version_tag(last_tag[0]):
        suffix = f"-{last_tag[1]}-g{commit[:7]}"
        return last_tag[0][: MAX_VERSION - len(suffix)] + suffix
    if project_version is not None:
        named = project_version if project_version.startswith("v") else f"v{project_version}"
        if is_version_tag(named):
            return named
    return f"0.0.0+{commit[:7]}"


def project_version(pyproject: bytes | None, package_json: bytes | None) -> str | None:
    """The version that the project's own file states, if one does and can be read."""
    if pyproject is not None:
        try:
            table = tomllib.loads(pyproject.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            table = {}
        for holder in (table.get("project"), (table.get("tool") or {}).get("poetry")):
            if isinstance(holder, dict) and isinstance(holder.get("version"), str):
                return str(holder["version"])
    if package_json is not None:
        try:
            parsed = json.loads(package_json)
        except (ValueError, RecursionError):
            return None
        if isinstance(parsed, dict) and isinstance(parsed.get("version"), str):
            return str(parsed["version"])
    return None
