"""Which bundle serves a robot's platform, and which wheels may be in it. PURE.

Robots of many libc versions share a bundle: wheels are built for a few of them only, so each platform is taken down to one of those.
"""

from __future__ import annotations

import re

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.wire.platforms import Platform, parse_key

OLDEST_PYTHON = 11
NEWEST_PYTHON = 15
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64", "armv7l": "armv7l"}
_FLOORS = {"glibc": ((2, 17), (2, 28), (2, 31), (2, 34), (2, 39)), "musl": ((1, 1), (1, 2))}
_TAGS = {"glibc": "manylinux", "musl": "musllinux"}
_OLDEST_TAG = {"glibc": 5, "musl": 1}
_OLD_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}


def bundle_platform(key: str) -> Platform:
    """The platform of the bundle for robots of platform `key` (`linux-aarch64-glibc2.36-py3.11`).

    Raises `BadInput` when the key names no platform, `NotFound` when there is no agent for it.
    """
    robot = parse_key(key[:100])
    if robot is None:
        raise BadInput(f"{key[:60]!r} names no platform, such as linux-aarch64-glibc2.36-py3.11")
    arch = ARCHITECTURES.get(robot.arch)
    if robot.system != "linux" or arch is None:
        raise NotFound(
            f"there is no agent for {robot.system} on {robot.arch[:20]}: robots run Linux on x86_64, aarch64 or armv7l"
        )
    python = re.fullmatch(r"3\.([0-9]{1,2})", robot.python)
    if python is None or not OLDEST_PYTHON <= int(python[1]) <= NEWEST_PYTHON:
        raise NotFound(
            f"the agent needs Python 3.{OLDEST_PYTHON} to 3.{NEWEST_PYTHON} on the robot, not {robot.python[:10]}"
        )
    version = re.match(r"(\d{1,3})\.(\d{1,3})", robot.libc_version)
    floors = [floor for floor in _FLOORS[robot.libc] if version and floor <= (int(version[1]), int(version[2]))]
    if not floors:
        oldest = ".".join(map(str, _FLOORS[robot.libc][0]))
        raise NotFound(
            f"the agent needs {robot.libc} {oldest} or newer, not {robot.libc_version[:10] or 'an unknown one'}"
        )
    return Platform("linux", arch, robot.libc, ".".join(map(str, floors[-1])), robot.python)


def wheel_tags(platform: Platform) -> tuple[str, ...]:
    """The platform tags of wheels that run there, best first: `manylinux_2_28_aarch64`, …, `linux_aarch64`."""
    major, minor = (int(part) for part in platform.libc_version.split("."))
    name = _TAGS[platform.libc]
    tags = []
    for number in range(minor, _OLDEST_TAG[platform.libc] - 1, -1):
        tags.append(f"{name}_{major}_{number}_{platform.arch}")
        if platform.libc == "glibc" and number in _OLD_NAMES:
            tags.append(f"{_OLD_NAMES[number]}_{platform.arch}")
    return (*tags, f"linux_{platform.arch}")
