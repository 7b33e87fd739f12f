"""What a service's declared devices and groups come to on this machine: kinds of devices to allow, groups to be in. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

_KINDS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("/dev/ttyACM*", ("char-ttyACM",), ("dialout",)),
    ("/dev/ttyUSB*", ("char-ttyUSB",), ("dialout",)),
    ("/dev/ttyAMA*", ("char-ttyAMA",), ("dialout",)),
    ("/dev/ttyTHS*", ("char-ttyTHS",), ("dialout",)),
    ("/dev/ttyS*", ("char-ttyS",), ("dialout",)),
    ("/dev/serial/*", ("char-ttyACM", "char-ttyUSB"), ("dialout",)),
    ("/dev/serial[0-9]*", ("char-ttyAMA", "char-ttyS"), ("dialout",)),
    ("/dev/video*", ("char-video4linux",), ("video",)),
    ("/dev/v4l/*", ("char-video4linux",), ("video",)),
    ("/dev/media*", ("char-media",), ("video",)),
    ("/dev/i2c-*", ("char-i2c",), ("i2c",)),
    ("/dev/spidev*", ("char-spi",), ("spi",)),
    ("/dev/gpiochip*", ("char-gpiochip",), ("gpio",)),
    ("/dev/input/*", ("char-input",), ("input",)),
    ("/dev/hidraw*", ("char-hidraw",), ("plugdev", "input")),
    ("/dev/snd/*", ("char-alsa",), ("audio",)),
    ("/dev/dri/*", ("char-drm",), ("video", "render")),
    ("/dev/bus/usb/*", ("char-usb_device",), ("plugdev",)),
)
"""Path below /dev → kernel's names of its kind of device, and who usually owns it. By kind, because what is plugged in again is
another device, and a running service would be locked out of it."""
_SHARED = frozenset(
    {
        "mem",
        "misc",
        "raw",
        "tty",
        "/dev/tty",
        "/dev/console",
        "/dev/ptmx",
        "vcs",
        "sd",
        "mmc",
        "blkext",
        "loop",
        "device-mapper",
    }
)
"""Kinds with much else among them: of these, only the one device."""


@dataclass(frozen=True, slots=True)
class Node:
    """A device that is there now: the pattern that named it, its path, `char` or `block`, the kernel's name of its kind, its group."""

    pattern: str
    path: str
    sort: str
    kind: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Grants:
    """`devices` as `DeviceAllow=` takes them, without the rights."""

    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def grants(patterns: Sequence[str], asked: Sequence[str], nodes: Sequence[Node], groups: Collection[str]) -> Grants:
    """For the device patterns and groups that a service declares. `nodes`: devices that fit; `groups`: those that exist here. A group
    that was asked for is in the answer even if it does not exist."""
    devices: set[str] = set()
    owners: set[str] = set(asked)
    for node in nodes:
        known = node.kind is not None and node.kind not in _SHARED and re.fullmatch(r"[A-Za-z0-9_-]+", node.kind)
        devices.add(f"{node.sort}-{node.kind}" if known else node.path)
        if node.group is not None and node.group != "root":
            owners.add(node.group)
    there = {node.pattern for node in nodes}
    for pattern in patterns:
        fitting = [entry for entry in _KINDS if fnmatchcase(pattern, entry[0]) or _covers(pattern, entry[0])]
        for _, kinds, usual in fitting:
            devices.update(kinds)
            owners.update(set(usual).intersection(groups))
        if not fitting and pattern not in there and not any(c in pattern for c in "*?["):
            devices.add(pattern)
    return Grants(devices=tuple(sorted(devices)), groups=tuple(sorted(owners)))


def _covers(pattern: str, known: str) -> bool:
    """Whether a glob may mean what the table's entry means: `/dev/tty*` covers `/dev/ttyUSB*`."""
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return pattern != fixed and len(fixed) > len("/dev/") and known.startswith(fixed)
