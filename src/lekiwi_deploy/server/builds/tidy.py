"""Makes a folder that uv installed into the same bytes on every machine: launchers without this machine's paths, records without
what only the installer needs."""

from __future__ import annotations

import configparser
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from lekiwi_deploy.errors import BadInput

_UNWANTED = ("direct_url.json", "REQUESTED", "uv_cache.json", "uv_build.json")
_ENTRY = re.compile(r"([A-Za-z_][\w.]*)\s*(?::\s*([A-Za-z_][\w.]*))?\s*(?:\[.*\])?\Z")
_SHELL_TRICK = re.compile(rb"\A#!/bin/sh\n'''exec' [^\n]*\n' '''\n")
_SHEBANG = re.compile(rb"\A#![^\n]*python[^\n]*\n")


def launcher(module: str, attribute: str | None) -> str:
    """A program that calls an entry point with whichever Python the robot has first on its PATH."""
    if attribute is None:
        return f'#!/usr/bin/env python3\nimport runpy\nrunpy.run_module("{module}", run_name="__main__")\n'
    first = attribute.split(".")[0]
    return f"#!/usr/bin/env python3\nimport sys\nfrom {module} import {first}\nsys.exit({attribute}())\n"


def refuse_links(root: Path) -> None:
    """Raises `BadInput` when there is a symbolic link below `root`: wheels have none, so something else put it there."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            if (Path(folder) / name).is_symlink():
                raise BadInput(f"the installed dependencies contain a symbolic link, {name!a}, which no wheel has")


def tidy(root: Path) -> None:
    """Tidies the folder `root` in place. Files may be hard links into a cache: they are replaced, never written to."""
    (root / ".lock").unlink(missing_ok=True)
    for cache in sorted(root.rglob("__pycache__")):
        shutil.rmtree(cache)
    for info in sorted(root.glob("*.dist-info")):
        for name in _UNWANTED:
            (info / name).unlink(missing_ok=True)
        for name, (module, attribute) in _entry_points(info):
            script = root / "bin" / name
            if script.exists():
                _replace(script, launcher(module, attribute).encode(), 0o755)
        record = info / "RECORD"
        if record.exists():
            _replace(record, _record(record.read_text(errors="replace")).encode(), 0o644)
    for script in sorted((root / "bin").glob("*")) if (root / "bin").is_dir() else ():
        _portable(script)


def built_for(root: Path) -> dict[str, tuple[str, ...]]:
    """Distribution -> the tags of the wheel that it was installed from."""
    found: dict[str, tuple[str, ...]] = {}
    for wheel in sorted(root.glob("*.dist-info/WHEEL")):
        tags = tuple(
            line.split(":", 1)[1].strip()
            for line in wheel.read_text(errors="replace").splitlines()
            if line.startswith("Tag:")
        )
        found[wheel.parent.name.split("-")[0]] = tags
    return found


def _entry_points(info: Path) -> Iterator[tuple[str, tuple[str, str | None]]]:
    path = info / "entry_points.txt"
    if not path.exists():
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(path.read_text(errors="replace"))
    except configparser.Error:
        return
    for section in ("console_scripts", "gui_scripts"):
        for name, target in parser.items(section) if parser.has_section(section) else ():
            match = _ENTRY.match(target.strip())
            if match and "/" not in name and name not in (".", ".."):
                yield name, (match[1], match[2])


def _portable(script: Path) -> None:
    if script.is_symlink() or not script.is_file():
        return
    with script.open("rb") as file:
        head = file.read(2)
    if head != b"#!":
        return
    data = script.read_bytes()
    for pattern in (_SHELL_TRICK, _SHEBANG):
        changed = pattern.sub(b"#!/usr/bin/env python3\n", data, count=1)
        if changed != data:
            _replace(script, changed, 0o755)
            return


def _record(text: str) -> str:
    """The record without hashes of what was changed, without what was removed, in one order."""
    lines: list[str] = []
    for line in text.splitlines():
        path = line.rsplit(",", 2)[0].strip('"')
        name = path.rsplit("/", 1)[-1]
        if not path or name in _UNWANTED or "__pycache__" in path:
            continue
        outside = path.startswith("..")
        lines.append(f"{path},," if outside or path.startswith("bin/") or name == "RECORD" else line)
    return "\n".join(sorted(lines)) + "\n"


def _replace(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    temporary.chmod(mode)
    os.replace(temporary, path)  # noqa: PTH105 - the same thing


def check_portable(root: Path, platform: str, own: bool) -> None:
    """Raises `BadInput` when something was compiled here for this machine only and `root` is for another (`own` false)."""
    for name, tags in built_for(root).items():
        if (
            tags
            and not own
            and not any(
                tag.endswith("-none-any") or "manylinux" in tag or "musllinux" in tag or "macosx" in tag for tag in tags
            )
        ):
            raise BadInput(f"{name} has no wheel for {platform} and must be compiled: choose a version that has one")
