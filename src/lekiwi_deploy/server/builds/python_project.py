"""What a Python project declares: where its requirements stand, their names, its scripts, its import folders. PURE."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.listing import Listing


class Source(StrEnum):
    """Where the requirements of a project stand."""

    LOCK = "uv.lock"
    REQUIREMENTS = "requirements.txt"
    PYPROJECT = "pyproject.toml"
    SETUP = "setup.py"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PythonProject:
    """`names`: normalised names of all requirements known without resolving; `dev_names` likewise of those for tests only.
    `scripts`: launcher name -> `module:attribute`. `folders`: what belongs on PYTHONPATH, relative to the project, `.` first.
    `dev_files`: requirements files for tests; `dev_groups`: dependency groups; `dev_extras`: optional dependencies."""

    source: Source
    name: str | None = None
    version: str | None = None
    names: frozenset[str] = frozenset()
    dev_names: frozenset[str] = frozenset()
    scripts: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = (".",)
    dev_files: tuple[str, ...] = ()
    dev_groups: tuple[str, ...] = ()
    dev_extras: tuple[str, ...] = ()

    @property
    def stack(self) -> str:
        """How people are told: `python, uv`."""
        return {Source.LOCK: "python, uv", Source.PYPROJECT: "python, uv", Source.NONE: "python"}.get(
            self.source, f"python, {self.source}"
        )


DEV_FILES = (
    "requirements-dev.txt", "requirements_dev.txt", "dev-requirements.txt", "requirements-test.txt", "requirements_test.txt",
    "requirements-tests.txt", "test-requirements.txt", "requirements/dev.txt", "requirements/test.txt", "requirements/tests.txt",
)  # fmt: skip
DEV_NAMES = ("dev", "test", "tests", "testing")

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?:[<>=!~;@,\s(]|$)")
_SCRIPT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*\Z")
_TARGET = re.compile(r"([A-Za-z_][\w.]*)\s*:\s*([A-Za-z_][\w.]*)")


def normalised(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_names(lines: Iterable[str]) -> frozenset[str]:
    """The names in requirement lines; options, comments and addresses are passed over. `fastapi[standard]` brings uvicorn."""
    names: set[str] = set()
    for line in lines:
        stripped = line.split("#", 1)[0].strip()
        if not stripped or stripped.startswith("-"):
            continue
        match = _REQUIREMENT.match(stripped)
        if match:
            names.add(normalised(match[1]))
            if re.search(r"\[[^\]]*(standard|all)[^\]]*\]", stripped) and normalised(match[1]) in (
                "fastapi",
                "litestar",
            ):
                names.add("uvicorn")
    return frozenset(names)


def python_project(listing: Listing) -> PythonProject | None:
    """What the project declares, or None when it is no Python project. Raises `BadInput` for a pyproject.toml that is not TOML."""
    table = _toml(listing, "pyproject.toml")
    project = _table(table, "project")
    poetry = _table(_table(table, "tool"), "poetry")
    has_python = any(path.endswith(".py") for path in listing.paths)
    declared = bool(project or poetry)
    if listing.has("uv.lock") and declared:
        source = Source.LOCK
    elif listing.has("requirements.txt"):
        source = Source.REQUIREMENTS
    elif declared:
        source = Source.PYPROJECT
    elif listing.has("setup.py"):
        source = Source.SETUP
    elif has_python:
        source = Source.NONE
    else:
        return None
    if not has_python and source is not Source.LOCK and listing.has("package.json"):
        return None
    groups = _table(table, "dependency-groups")
    extras = _table(project, "optional-dependencies")
    return PythonProject(
        source=source,
        name=_text(project.get("name")) or _text(poetry.get("name")),
        version=_text(project.get("version")) or _text(poetry.get("version")),
        names=_names(listing, project, poetry, source),
        dev_names=frozenset().union(
            *(requirement_names(_texts(groups.get(name))) for name in DEV_NAMES),
            *(requirement_names(_texts(extras.get(name))) for name in DEV_NAMES),
            *(requirement_names(listing.text(path).splitlines()) for path in DEV_FILES),
        ),
        scripts=_scripts(project, poetry),
        folders=_folders(listing),
        dev_files=tuple(path for path in DEV_FILES if listing.has(path)),
        dev_groups=tuple(name for name in DEV_NAMES if name in groups),
        dev_extras=tuple(name for name in DEV_NAMES if name in extras),
    )


def _names(listing: Listing, project: dict[str, Any], poetry: dict[str, Any], source: Source) -> frozenset[str]:
    names = requirement_names(_texts(project.get("dependencies")))
    names |= {normalised(name) for name in _table(poetry, "dependencies")} - {"python"}
    if source is Source.LOCK:
        packages = _toml(listing, "uv.lock").get("package")
        for package in packages if isinstance(packages, list) else []:
            if isinstance(package, dict) and isinstance(package.get("name"), str):
                names |= {normalised(package["name"])}
    if source is Source.REQUIREMENTS:
        for path in listing.paths:
            if path == "requirements.txt" or (
                path.startswith("requirements/") and "dev" not in path and "test" not in path
            ):
                names |= requirement_names(listing.text(path).splitlines())
    return names


def _folders(listing: Listing) -> tuple[str, ...]:
    packages = any(path.startswith("src/") and path.endswith(".py") for path in listing.paths)
    return (".", "src") if packages and not listing.has("src/__init__.py") else (".",)


def _scripts(project: dict[str, Any], poetry: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for table in (_table(project, "scripts"), _table(poetry, "scripts")):
        for name, target in table.items():
            match = _TARGET.match(target) if isinstance(target, str) else None
            if match and _SCRIPT.match(name):
                found[name] = f"{match[1]}:{match[2]}"
    return dict(sorted(found.items()))


def _toml(listing: Listing, path: str) -> dict[str, Any]:
    data = listing.read(path)
    if data is None:
        return {}
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error


def _table(table: dict[str, Any], key: str) -> dict[str, Any]:
    value = table.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []
