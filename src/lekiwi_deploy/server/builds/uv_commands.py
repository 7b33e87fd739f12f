"""How uv is asked, and what its complaints mean. PURE: argument lists and texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.python_project import PythonProject, Source, normalised
from lekiwi_deploy.wire.platforms import Platform

NEWEST_MANYLINUX = 40
OLDEST_MANYLINUX = 28
_ARCHES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}

_NO_WHEEL = re.compile(
    r"(?:^|\s)([A-Za-z0-9][\w.-]*?)(?:\[[^\]]*\])?(?:(?:[=<>!~]=?|===)\S+)?(?:,?[<>=!~]+\S+)*\s+has no (?:usable )?wheels?\b",
    re.M,
)
_NOT_FOUND = re.compile(r"([A-Za-z0-9][\w.-]*) was not found in the package registry")
_PYTHON = re.compile(
    r"does not satisfy (Python\S+) and (?:(?:all versions of )?(\S+?)(?:[<>=!~]\S*)?) (?:depends|depend) on"
)
_LOCAL = re.compile(r"(?:-e\s+|--editable[ =])?(?:file:)?(\.{1,2}(?:/[^\s;#]*)?|\./[^\s;#]*)\s*(?:[;#].*)?\Z")
_NAMED_LOCAL = re.compile(r"[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?\s*@\s*(?:file:)?(\.{1,2}/?[^\s;#]*)")


def platform_name(platform: Platform) -> str:
    """What uv calls the platform: `aarch64-manylinux_2_36`. Raises `BadInput` for one that no wheels are made for."""
    arch = _ARCHES.get(platform.arch)
    if platform.system == "linux" and arch is not None:
        if platform.libc == "musl":
            return f"{arch}-unknown-linux-musl"
        minor = int(
            (re.findall(r"\d+", platform.libc_version) or ["0", "0"])[1:][0] if "." in platform.libc_version else 0
        )
        if minor >= 31:
            return f"{arch}-manylinux_2_{min(minor, NEWEST_MANYLINUX)}"
        if minor >= OLDEST_MANYLINUX:
            return f"{arch}-manylinux_2_28"
        return f"{arch}-manylinux_2_17"
    if platform.system in ("macos", "darwin") and arch is not None:
        return f"{arch}-apple-darwin"
    raise BadInput(f"no Python wheels are resolved for {platform.short}: dependencies cannot be installed for it here")


def compile_command(
    inputs: Sequence[str], platform: Platform, *, only_wheels: bool, extras: Sequence[str], groups: Sequence[str]
) -> list[str]:
    """Resolves requirements for one platform; the pinned requirements go to stdout."""
    return [
        "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--generate-hashes",
        "--emit-index-url", "--emit-find-links",
        "--python-platform", platform_name(platform), "--python-version", platform.python,
        *(("--only-binary", ":all:") if only_wheels else ()),
        *(part for extra in extras for part in ("--extra", extra)),
        *(part for group in groups for part in ("--group", group)),
        *inputs,
    ]  # fmt: skip


def export_command(*, dev: bool) -> list[str]:
    """Reads uv.lock, without resolving anything, for all platforms; the pinned requirements go to stdout."""
    return [
        "uv", "export", "--quiet", "--frozen", "--format", "requirements-txt", "--no-header", "--no-annotate", "--no-emit-project",
        *(() if dev else ("--no-dev",)),
    ]  # fmt: skip


def install_command(requirements: str, target: str, platform: Platform, *, only_wheels: bool) -> list[str]:
    """Puts exactly the pinned requirements into the folder `target`."""
    return [
        "uv", "pip", "install", "--quiet", "--no-deps", "--target", target, "--link-mode", "hardlink",
        "--python-platform", platform_name(platform), "--python-version", platform.python,
        *(("--only-binary", ":all:") if only_wheels else ()),
        "-r", requirements,
    ]  # fmt: skip


def compile_inputs(project: PythonProject, *, local_root: bool, has_pyproject: bool) -> list[str]:
    """Which files to resolve. `local_root`: requirements.txt installs the project itself (`-e .`), so its own requirements count."""
    match project.source:
        case Source.REQUIREMENTS:
            own = ["pyproject.toml" if has_pyproject else "setup.py"] if local_root else []
            return ["requirements.txt", *own]
        case Source.PYPROJECT:
            return ["pyproject.toml"]
        case Source.SETUP:
            return ["setup.py"]
        case _:
            return []


def split_local(text: str) -> tuple[str, list[str]]:
    """Pinned requirements without those that are folders of the project itself, and these folders (`.`, `packages/x`)."""
    kept: list[str] = []
    folders: list[str] = []
    for line in text.splitlines():
        match = _LOCAL.match(line.strip()) or _NAMED_LOCAL.match(line.strip())
        if match:
            folders.append(match[1].rstrip("/").removeprefix("./") or ".")
        else:
            kept.append(line)
    return "\n".join(kept).strip() + "\n", folders


def without_wheels(complaint: str) -> list[str]:
    """The distributions that uv says have no wheel, in order."""
    return list(dict.fromkeys(normalised(name) for name in _NO_WHEEL.findall(_unwrapped(complaint))))


def metadata_is_built(complaint: str) -> bool:
    """Whether the project's own requirements are known only after its build system ran (Poetry, setup.py)."""
    return "Building source distributions is disabled" in _unwrapped(complaint)


def explained(complaint: str, platform: Platform) -> str:
    """uv's complaint as one line for a person, that names the dependency."""
    text = _unwrapped(complaint)
    where = f"{platform.short} with Python {platform.python}"
    names = without_wheels(complaint)
    if names:
        return f"{', '.join(names)} has no wheel for {where}: choose a version that has one (dependencies are not compiled here)"
    missing = list(dict.fromkeys(_NOT_FOUND.findall(text)))
    if missing:
        return f"there is no package {', '.join(missing)} in the package index"
    other = _PYTHON.search(text)
    if other:
        return f"{other[2]} needs {other[1]}, and there is Python {platform.python} on {platform.short}: choose an older version of it"
    sentence = re.sub(r"^(error:|×)\s*", "", text)
    return f"the dependencies cannot be resolved for {where}: {sentence[:400]}"


def _unwrapped(complaint: str) -> str:
    return " ".join(re.sub(r"[│╰─▶├┬]+", " ", complaint).split())
