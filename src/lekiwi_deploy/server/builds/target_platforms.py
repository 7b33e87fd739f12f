"""For which platforms a release is built: those in use, each only as often as needed. PURE."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lekiwi_deploy.wire.platforms import Platform


def distinct(platforms: Iterable[Platform]) -> tuple[Platform, ...]:
    """One platform for all robots that can share a tree: same system, architecture, libc and Python, the oldest libc version
    among them (`platforms.best_key` lets newer ones use it). Sorted by key."""
    oldest: dict[tuple[str, str, str, str], Platform] = {}
    for platform in platforms:
        same = (platform.system, platform.arch, platform.libc, platform.python)
        known = oldest.get(same)
        if known is None or _version(platform) < _version(known):
            oldest[same] = platform
    return tuple(sorted(oldest.values(), key=lambda platform: platform.key))


def shown(platforms: Iterable[Platform]) -> str:
    """`linux-x86_64, linux-aarch64`, with the Python when there are several of one kind."""
    listed = list(platforms)
    names = [platform.short for platform in listed]
    return ", ".join(
        f"{platform.short} (Python {platform.python})" if names.count(platform.short) > 1 else platform.short
        for platform in listed
    )


def _version(platform: Platform) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", platform.libc_version))
