"""What a service's process depends on: the robot restarts a service when its fingerprint changed, and the server foretells which it will.

A service's fingerprint covers everything its process depends on: its own files, command, folder, port, exclusive hardware,
the values of the variables it declares, the installed dependencies and search paths, its sandbox and how it is told of readiness and
hand-over. Health checks, hooks, `warm`, `drain` and the stop grace are not in it: they are the agent's business and take effect
without a restart. What a manifest leaves at its default adds nothing, so that a newer agent restarts nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.manifest import Handover, Manifest, Needs, Service
from lekiwi_deploy.wire.platforms import Platform, best_key

_NEEDS = msgspec.structs.asdict(Needs())


def fingerprint(manifest: Manifest, service: Service, platform: Platform, variables: Mapping[str, str]) -> str:
    """64 hex characters: equal exactly when a running process of `service` need not be restarted. `variables` are the
    robot's own; only the declared ones count. (The server, which does not open them, gives what is equal when they are.)"""
    key = best_key(manifest.platforms, platform)
    what = (
        service.content,
        service.run,
        service.folder,
        service.port,
        service.exclusive,
        [(name, variables.get(name)) for name in service.env],
        manifest.platforms[key].content if key is not None else None,
        manifest.python_path,
        manifest.bin_path,
    )
    said = _said(service)
    return hashlib.sha256(encode((*what, said) if said else what)).hexdigest()


def _said(service: Service) -> dict[str, object]:
    """What it says beyond the defaults that its process depends on, sorted."""
    own = {
        "handover": (service.handover, Handover.STOP),
        "notify": (service.notify, False),
        "watchdog_s": (service.watchdog_s, None),
    }
    needs = {f"needs.{name}": (getattr(service.needs, name), default) for name, default in _NEEDS.items()}
    return {name: value for name, (value, default) in sorted({**own, **needs}.items()) if value != default}


def fingerprints(manifest: Manifest, platform: Platform, variables: Mapping[str, str]) -> dict[str, str]:
    """Of every service, by name."""
    return {service.name: fingerprint(manifest, service, platform, variables) for service in manifest.services}
