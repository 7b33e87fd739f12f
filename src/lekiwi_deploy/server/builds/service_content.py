"""Which files each service is made of, so that a robot restarts only what changed. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blake3 import blake3
from pathspec import PathSpec

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.spec import ServiceSpec
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.manifest import FileEntry, Service

PROJECT_FILE = "code/lekiwi.yaml"
"""Belongs to no service: what it says of one is in the service itself."""


def content_digest(entries: Iterable[FileEntry]) -> str:
    """64 hex characters that change exactly when a path, kind or content among `entries` does."""
    rows = sorted((entry.path, entry.kind.value, entry.digest) for entry in entries)
    return blake3(encode(rows)).hexdigest()


def services_of(specs: Sequence[ServiceSpec], entries: Sequence[FileEntry]) -> tuple[Service, ...]:
    """The services of a release whose code is `entries` (paths below `code/`), by name.

    A service with `files` is made of what they match, one without of everything that no other claims.
    Raises `BadInput` for `files` that match nothing.
    """
    code = [entry for entry in entries if entry.path.startswith("code/") and entry.path != PROJECT_FILE]
    claimed: dict[str, list[FileEntry]] = {}
    taken: set[str] = set()
    for spec in specs:
        if not spec.files:
            continue
        globs = PathSpec.from_lines("gitignore", [f"/{glob.removeprefix('./')}" for glob in spec.files])
        own = [entry for entry in code if globs.match_file(entry.path.removeprefix("code/"))]
        if not own:
            raise BadInput(f"lekiwi.yaml: services.{spec.name}.files: no file matches {', '.join(spec.files)}")
        claimed[spec.name] = own
        taken.update(entry.path for entry in own)
    rest = [entry for entry in code if entry.path not in taken]
    return tuple(
        Service(
            name=spec.name,
            run=_run(spec.run),
            content=content_digest(claimed.get(spec.name, rest)),
            port=spec.port,
            exclusive=spec.exclusive,
            env=spec.env,
            health=spec.health,
            stop_grace_s=spec.stop_grace_s,
            handover=spec.handover,
            warm=spec.warm,
            drain_s=spec.drain_s,
            notify=spec.notify,
            watchdog_s=spec.watchdog_s,
            needs=spec.needs,
            hooks=spec.hooks,
        )
        for spec in sorted(specs, key=lambda spec: spec.name)
    )


def _run(run: tuple[str, ...]) -> tuple[str, ...]:
    return ("python3", *run[1:]) if run[0] == "python" else run
