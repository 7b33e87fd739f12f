"""The link between a folder and a project: `.lekiwi/project.json`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lekiwi_deploy.errors import BadInput, Failed
from lekiwi_deploy.wire.ids import checked_name

FOLDER = ".lekiwi"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """`environment`: what `-e` defaults to here."""

    project: str
    environment: str | None = None
    api: str | None = None
    schema: str = "lekiwi.link/1"


@dataclass(frozen=True)
class Linked:
    """A link and the folder that it was found in."""

    folder: Path
    link: Link


def find(start: Path) -> Linked | None:
    """The link of `start` or of the nearest folder above it. Raises `BadInput` when its file is damaged."""
    for folder in (start, *start.parents):
        path = folder / FOLDER / "project.json"
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        try:
            link = msgspec.json.decode(data, type=Link)
        except msgspec.MsgspecError as error:
            raise BadInput(f"{path} is damaged ({error})", next=(f"rm {path}", "lekiwi link NAME")) from error
        checked_name("a project", link.project)
        return Linked(folder, link)
    return None


def write(folder: Path, link: Link) -> Path:
    """Links `folder`. Its `.lekiwi` ignores itself, so that no `.gitignore` of the user's changes."""
    inside = folder / FOLDER
    path = inside / "project.json"
    try:
        inside.mkdir(exist_ok=True)
        ignore = inside / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(link), indent=2) + b"\n")
        temporary.replace(path)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from error
    return path


def remove(linked: Linked) -> None:
    """Ends the link; what else lies in `.lekiwi` stays."""
    inside = linked.folder / FOLDER
    (inside / "project.json").unlink(missing_ok=True)
    ignore = inside / ".gitignore"
    if [item.name for item in inside.iterdir()] == [".gitignore"] and ignore.read_text() == "*\n":
        ignore.unlink()
        inside.rmdir()


def name_for(folder: Path) -> str:
    """A project's name out of a folder's: `My Robot` gives `my-robot`. Raises `BadInput` when nothing is left of it."""
    text = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in folder.resolve().name.lower())
    while "--" in text:
        text = text.replace("--", "-")
    try:
        return checked_name("a project", text.strip("-._")[:50])
    except BadInput as error:
        raise BadInput(
            f"the folder's name {folder.resolve().name!r} makes no project name", next=("lekiwi link NAME",)
        ) from error
