"""What differs between two releases: files, dependencies, settings of services, variables, and which services would be started again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from lekiwi_deploy.fleet.variables import Version
from lekiwi_deploy.wire.changes import Changed
from lekiwi_deploy.wire.fingerprints import fingerprint
from lekiwi_deploy.wire.manifest import FileEntry, Manifest, Service
from lekiwi_deploy.wire.platforms import Platform, best_key

MAX_FILES = 50
_DIST_INFO = re.compile(r"(?:\A|/)([A-Za-z0-9._]+)-([^-/]+)\.dist-info/")
_OF_SERVICE = (
    "run", "folder", "port", "exclusive", "env", "health", "stop_grace_s", "handover", "warm", "drain_s", "notify", "watchdog_s",
)  # fmt: skip
_OURS = ("code/.lekiwi-launch/", ".lekiwi-launch/")
"""Made by the build out of what is named elsewhere."""
_PLAIN = Platform(system="", arch="", libc="", libc_version="", python="")
_MAX_TEXT = 120


@dataclass(frozen=True, slots=True)
class Contents:
    """What differs between the contents of two releases."""

    files: tuple[Changed, ...]
    files_more: int
    dependencies: tuple[Changed, ...]
    config: tuple[Changed, ...]


def contents(before: Manifest | None, after: Manifest) -> Contents:
    """From `before` (None: nothing ran) to `after`."""
    files = changed(_files(before), _files(after))
    return Contents(
        files=files[:MAX_FILES],
        files_more=max(0, len(files) - MAX_FILES),
        dependencies=changed(_dependencies(before), _dependencies(after)),
        config=changed(_settings(before), _settings(after)),
    )


def restarts(
    before: Manifest | None, after: Manifest, platforms: Sequence[Platform], variables: Iterable[str] = ()
) -> tuple[str, ...]:
    """Services of `after` whose process would be another one, sorted, on robots of these platforms (none: of any). `variables`: names whose
    value is another."""
    if before is None:
        return tuple(sorted(service.name for service in after.services))
    old = {service.name: fingerprint(_bare(before), service, _PLAIN, {}) for service in before.services}
    installed = _installed(before, platforms) != _installed(after, platforms)
    other = set(variables)
    return tuple(
        sorted(
            service.name
            for service in after.services
            if installed
            or old.get(service.name) != fingerprint(_bare(after), service, _PLAIN, {})
            or other.intersection(service.env)
        )
    )


def variables(before: Mapping[str, Version], after: Mapping[str, Version]) -> tuple[Changed, ...]:
    """Names whose value differs, each with the revision that set it; never a value."""
    found = []
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if one is None or other is None or one.fingerprint != other.fingerprint:
            found.append(Changed(name=name, before=_revision(one), after=_revision(other)))
    return tuple(found)


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Changed, ...]:
    """What is in one, in the other, or different, by name."""
    return tuple(
        Changed(name=name, before=before.get(name), after=after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def _revision(version: Version | None) -> str | None:
    return None if version is None else f"r{version.revision}"


def _files(manifest: Manifest | None) -> dict[str, str]:
    if manifest is None:
        return {}
    return {
        entry.path.removeprefix("code/"): f"{_size(entry.size)} ({entry.digest[:7]})"
        for entry in manifest.files
        if not entry.path.endswith(".pyc") and not entry.path.startswith(_OURS)
    }


def _size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _dependencies(manifest: Manifest | None) -> dict[str, str]:
    """Name -> version, of all platforms together."""
    found: dict[str, set[str]] = {}
    trees = manifest.platforms.values() if manifest is not None else ()
    for tree in trees:
        for name, version in _installed_packages(tree.files):
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def _installed_packages(files: Iterable[FileEntry]) -> set[tuple[str, str]]:
    matches = (_DIST_INFO.search(entry.path) for entry in files)
    return {(match[1].replace("_", "-").lower(), match[2]) for match in matches if match is not None}


def _settings(manifest: Manifest | None) -> dict[str, str]:
    """`web.port` -> `8000`, of what is not left at its default."""
    if manifest is None:
        return {}
    found: dict[str, str] = {}
    for service in manifest.services:
        found |= {f"{service.name}.{name}": text for name, text in _of_service(service)}
    for name, value in _set(manifest.conditions):
        found[f"conditions.{name}"] = _text(value)
    return found


def _of_service(service: Service) -> list[tuple[str, str]]:
    own = [(name, value) for name, value in _set(service) if name in _OF_SERVICE]
    own += [(f"needs.{name}", value) for name, value in _set(service.needs)]
    own += [(f"hooks.{kind.value}", hook.run) for kind, hook in sorted(service.hooks.items())]
    return [(name, _text(value)) for name, value in own]


def _set(struct: msgspec.Struct) -> list[tuple[str, object]]:
    """Fields that differ from their defaults; those that have none, too."""
    fields = msgspec.structs.fields(type(struct))
    return [
        (field.name, getattr(struct, field.name)) for field in fields if getattr(struct, field.name) != field.default
    ]


def _text(value: object) -> str:
    if isinstance(value, tuple) and value and all(isinstance(part, str) for part in value):
        text = " ".join(value)
    elif isinstance(value, tuple):
        text = "; ".join(map(_text, value))
    elif isinstance(value, msgspec.Struct):
        said = [f"{name} {_text(part)}" for name, part in _set(value)]
        text = " ".join((str(value.__struct_config__.tag or ""), *said)).strip()
    elif isinstance(value, str | int | float):
        text = f"{value:g}" if isinstance(value, float) else str(value)
    else:
        text = msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _bare(manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(manifest, platforms={})


def _installed(manifest: Manifest, platforms: Sequence[Platform]) -> dict[str, str]:
    """What is installed: its content, by platform."""
    if not platforms:
        return {key: tree.content for key, tree in manifest.platforms.items()}
    found: dict[str, str] = {}
    for platform in platforms:
        key = best_key(manifest.platforms, platform)
        found[platform.key] = manifest.platforms[key].content if key is not None else ""
    return found
