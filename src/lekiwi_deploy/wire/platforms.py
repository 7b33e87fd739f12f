"""What a robot's machine is, as far as built content depends on it."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Platform(msgspec.Struct, frozen=True):
    """`arch` as `uname -m` says it; `libc` is glibc or musl with its version; `python` is "3.11"."""

    system: str
    arch: str
    libc: str
    libc_version: str
    python: str

    @property
    def key(self) -> str:
        """`linux-x86_64-glibc2.36-py3.11`: how manifests name it."""
        return f"{self.system}-{self.arch}-{self.libc}{self.libc_version}-py{self.python}"

    @property
    def short(self) -> str:
        """`linux-x86_64`: how people are shown it."""
        return f"{self.system}-{self.arch}"


def parse_key(key: str) -> Platform | None:
    """The platform that `key` names, or None when it names none."""
    parts = key.split("-")
    if len(parts) != 4 or not parts[3].startswith("py"):
        return None
    system, arch, libc, python = parts
    for name in ("glibc", "musl"):
        if libc.startswith(name):
            return Platform(system, arch, name, libc.removeprefix(name), python.removeprefix("py"))
    return None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def best_key(keys: Iterable[str], robot: Platform) -> str | None:
    """Which of a manifest's platform keys fits `robot`: the exact one, else the same system, architecture, libc
    and Python with the newest libc version not above the robot's. None: it was not built for this robot."""
    fitting: list[tuple[tuple[int, ...], str]] = []
    for key in keys:
        platform = parse_key(key)
        if platform is None:
            continue
        same = (platform.system, platform.arch, platform.libc, platform.python) == (
            robot.system,
            robot.arch,
            robot.libc,
            robot.python,
        )
        if same and _version(platform.libc_version) <= _version(robot.libc_version):
            fitting.append((_version(platform.libc_version), key))
    return max(fitting)[1] if fitting else None
