"""The Python dependencies of a project for one platform: resolved once per set of requirements, installed once per resolution.

What is installed is kept in the project's cache with its entries, so a change of the project's own code costs nothing here.
Everything that touches what strangers wrote runs in the workshop's room.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lekiwi_deploy.content.tree import read_tree
from lekiwi_deploy.errors import BadInput, Failed
from lekiwi_deploy.server.builds import uv_commands
from lekiwi_deploy.server.builds.bytecode import compile_sources
from lekiwi_deploy.server.builds.python_project import PythonProject, Source
from lekiwi_deploy.server.builds.pythons import find_python, own_platform
from lekiwi_deploy.server.builds.tidy import check_portable, refuse_links, tidy
from lekiwi_deploy.server.builds.workshop import Workshop, read_untrusted
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import FileEntry
from lekiwi_deploy.wire.platforms import Platform

TIMEOUT_S = 1_200.0
FORMAT = "1"
"""Raised when the same requirements are to give another tree than before."""
_REWRITTEN = ".lekiwi-requirements.txt"
INPUT_NAMES = ("pyproject.toml", "uv.lock", "uv.toml", "setup.py", "setup.cfg")


class _Kept(msgspec.Struct, frozen=True):
    """`entries.json` beside an installed tree."""

    entries: tuple[FileEntry, ...]
    byte_compiled: bool
    from_source: bool


@dataclass(frozen=True, slots=True)
class Requirements:
    """Pinned requirements, and the folders of the project that they name (`packages/x`)."""

    text: str
    folders: tuple[str, ...]
    from_source: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing is to be installed."""
        return not any(line and not line.startswith(("#", "-")) for line in map(str.strip, self.text.splitlines()))


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed tree at `root` (its paths in `entries` begin with `deps/`), its byte code included if there is any.
    `from_source`: something had no wheel and was built here."""

    root: Path
    entries: tuple[FileEntry, ...]
    byte_compiled: bool
    from_source: bool

    def path_of(self, entry: FileEntry) -> Path:
        """Where the bytes of `entry` are."""
        return self.root / entry.path.removeprefix("deps/")


async def resolve(
    shop: Workshop, project: PythonProject, platform: Platform, *, test: Sequence[str] | None = None
) -> Requirements:
    """The pinned requirements of the project for `platform`. `test`: with what its tests need, and these names on top.

    Raises `BadInput` in one line that names the dependency which cannot be had.
    """
    if project.source is Source.NONE and test is None:
        return Requirements("", ())
    key = _digest(FORMAT, "resolve", _inputs(shop.tree), platform.key, repr(test), project.source)
    kept = shop.cache / "resolved" / key
    if kept.exists():
        known: Requirements = decode(kept.read_bytes(), Requirements, what=str(kept))
        return known
    try:
        found = await _resolve(shop, project, platform, test)
    finally:
        (shop.tree / _REWRITTEN).unlink(missing_ok=True)
    kept.parent.mkdir(parents=True, exist_ok=True)
    _write(kept, encode(found))
    return found


async def _resolve(
    shop: Workshop, project: PythonProject, platform: Platform, test: Sequence[str] | None
) -> Requirements:
    if project.source is Source.LOCK and not test:
        text = await _ask(shop, uv_commands.export_command(dev=test is not None), platform, network=False)
        kept, folders = uv_commands.split_local(text)
        return Requirements(kept, tuple(folders))
    inputs, extras, groups = await asyncio.to_thread(_compile_inputs, shop, project, test)
    if project.source is Source.LOCK:
        locked = await _ask(shop, uv_commands.export_command(dev=True), platform, network=False)
        kept, _ = uv_commands.split_local(locked)
        _write(shop.temporary / "locked.txt", kept.encode())
        inputs = [shop.inside(shop.temporary / "locked.txt"), *inputs]
        extras, groups = [], []
    if not inputs:
        return Requirements("", ())
    from_source = False
    try:
        text = await _compile(shop, platform, inputs, extras, groups, only_wheels=True)
    except _Complaint as error:
        from_source = bool(uv_commands.without_wheels(error.text))
        if not from_source and not uv_commands.metadata_is_built(error.text):
            raise BadInput(error.message) from error
        try:
            text = await _compile(shop, platform, inputs, extras, groups, only_wheels=False)
        except _Complaint as again:
            raise BadInput((error if from_source else again).message) from again
    kept, folders = uv_commands.split_local(text)
    return Requirements(kept, tuple(folders), from_source)


async def _compile(
    shop: Workshop,
    platform: Platform,
    inputs: Sequence[str],
    extras: Sequence[str],
    groups: Sequence[str],
    *,
    only_wheels: bool,
) -> str:
    command = uv_commands.compile_command(inputs, platform, only_wheels=only_wheels, extras=extras, groups=groups)
    return await _ask(shop, command, platform)


def _compile_inputs(
    shop: Workshop, project: PythonProject, test: Sequence[str] | None
) -> tuple[list[str], list[str], list[str]]:
    """Files to resolve (as seen inside), extras, groups. requirements.txt is copied without the lines that name the project itself."""
    inputs: list[str] = []
    local_root = False
    if project.source is Source.REQUIREMENTS:
        text, folders = uv_commands.split_local(
            (shop.tree / "requirements.txt").read_text(encoding="utf-8-sig", errors="replace")
        )
        local_root = "." in folders
        if folders:  # beside the original, which other files are named relative to; `resolve` removes it
            _write(shop.tree / _REWRITTEN, text.encode())
    if project.source is not Source.LOCK:
        has_pyproject = (shop.tree / "pyproject.toml").exists()
        inputs = uv_commands.compile_inputs(project, local_root=local_root, has_pyproject=has_pyproject)
        if (shop.tree / _REWRITTEN).exists():
            inputs = [_REWRITTEN if name == "requirements.txt" else name for name in inputs]
    if test is None:
        return inputs, [], []
    inputs += list(project.dev_files)
    if test:
        _write(shop.temporary / "test.in", ("\n".join(test) + "\n").encode())
        inputs.append(shop.inside(shop.temporary / "test.in"))
    from_pyproject = "pyproject.toml" in inputs
    groups = list(project.dev_groups) if project.source is not Source.LOCK else []
    return inputs, list(project.dev_extras) if from_pyproject else [], groups


async def install(shop: Workshop, requirements: Requirements, platform: Platform) -> Installed:
    """The requirements as a tree, from the cache if this was installed before. Raises `BadInput` naming what cannot be had."""
    python = await find_python(platform.python)
    key = _digest(
        FORMAT,
        "install",
        requirements.text,
        uv_commands.platform_name(platform),
        platform.python,
        python.tag if python else "",
    )
    home = shop.cache / "installed" / key
    kept = home / "entries.json"
    if not kept.exists():
        await _install(shop, requirements, platform, home)
    os.utime(kept)
    found: _Kept = decode(await asyncio.to_thread(kept.read_bytes), _Kept, what=str(kept))
    return Installed(home / "deps", found.entries, found.byte_compiled, found.from_source)


async def _install(shop: Workshop, requirements: Requirements, platform: Platform, home: Path) -> None:
    """Into the shared folder first, which uv's cache lies in too (hard links), then out of every command's reach."""
    room, new = shop.shared / f"new-{shop.mark}", home.with_name(f"{home.name}.{shop.mark}")
    for folder in (room, new):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    command = uv_commands.install_command(
        _REWRITTEN, shop.inside(room / "deps"), platform, only_wheels=not requirements.from_source
    )
    try:
        _write(shop.tree / _REWRITTEN, requirements.text.encode())  # there, because it may name folders relative to it
        await _ask(shop, command, platform)
        (room / "deps").rename(new / "deps")
        kept = await _finish(shop, new, requirements, platform)
        _write(new / "entries.json", encode(kept))
        with contextlib.suppress(FileExistsError, OSError):  # another build was quicker
            new.rename(home)
    except _Complaint as error:
        raise BadInput(error.message) from error
    finally:
        (shop.tree / _REWRITTEN).unlink(missing_ok=True)
        shutil.rmtree(room, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


async def _finish(shop: Workshop, new: Path, requirements: Requirements, platform: Platform) -> _Kept:
    target = new / "deps"
    await asyncio.to_thread(refuse_links, target)
    await asyncio.to_thread(tidy, target)
    await asyncio.to_thread(check_portable, target, platform.short, _is_own(platform))
    entries = await asyncio.to_thread(read_tree, target, "deps")
    python = await find_python(platform.python)
    if python is not None:
        compiled = await compile_sources(python, entries, target, "deps", shop.byte_code)
        await asyncio.to_thread(_place, compiled.entries, compiled.files, target)
        entries = tuple(sorted((*entries, *compiled.entries), key=lambda entry: entry.path))
    return _Kept(entries, python is not None, requirements.from_source)


class _Complaint(Failed):
    """uv refused; `text` is all that it said."""

    def __init__(self, text: str, platform: Platform) -> None:
        super().__init__(uv_commands.explained(text, platform))
        self.text = text


async def _ask(shop: Workshop, command: Sequence[str], platform: Platform, *, network: bool = True) -> str:
    """What uv writes to stdout; its complaint is raised."""
    out, errors = shop.temporary / "uv.out", shop.temporary / "uv.err"
    quoted = ("/bin/sh", "-c", f'exec "$@" >{shop.inside(out)} 2>{shop.inside(errors)}', "sh", *command)

    async def nothing(_: list[str]) -> None:
        return None

    ended = await shop.run(quoted, timeout_s=TIMEOUT_S, on_lines=nothing, network=network)
    if not ended.ok:
        said = read_untrusted(errors, 100_000).decode(errors="replace")
        raise _Complaint(said.strip() or ended.verdict, platform)
    return read_untrusted(out).decode()


def _place(entries: Sequence[FileEntry], files: dict[ObjectDigest, Path], target: Path) -> None:
    for entry in entries:
        path = target / entry.path.removeprefix("deps/")
        path.parent.mkdir(exist_ok=True)
        path.hardlink_to(files[entry.digest])  # both are written once and only read


def _is_own(platform: Platform) -> bool:
    own = own_platform()
    return (platform.system, platform.arch, platform.libc, platform.python) == (
        own.system,
        own.arch,
        own.libc,
        own.python,
    )


def _inputs(tree: Path) -> str:
    """A digest over everything that a resolution may read of the project."""
    names: list[Path] = [path for name in INPUT_NAMES if (path := tree / name).is_file()]
    names += [path for path in sorted(tree.glob("*.txt")) if path.is_file()]
    names += [path for path in sorted((tree / "requirements").rglob("*")) if path.is_file()]
    digest = hashlib.sha256()
    for path in names:
        if not path.is_symlink() and path.name != _REWRITTEN:
            digest.update(f"{path.relative_to(tree)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    temporary.rename(path)
