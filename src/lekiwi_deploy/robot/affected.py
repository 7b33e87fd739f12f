"""Which services a change of deployment touches, and which of them the trial judges.

A service's fingerprint covers everything its process depends on: its own files, command, folder, port, exclusive hardware,
the values of the variables it declares, the installed dependencies and search paths, its sandbox and how it is told of readiness and
hand-over. Health checks, hooks, `warm`, `drain` and the stop grace are not in it: they are the agent's business and take effect
without a restart. What a manifest leaves at its default adds nothing, so that a newer agent restarts nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.manifest import Handover, HealthCheck, Manifest, Needs, Service
from lekiwi_deploy.wire.platforms import Platform, best_key

_NEEDS = msgspec.structs.asdict(Needs())


@dataclass(frozen=True, slots=True)
class Affected:
    """Service names, sorted. `start`: its process is to be (re)started; `stop`: it exists no more; `judge`: the trial looks at
    it, because it is started or its checks changed."""

    start: tuple[str, ...]
    stop: tuple[str, ...]
    judge: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every service whose process is touched."""
        return tuple(sorted({*self.start, *self.stop}))


def fingerprint(manifest: Manifest, service: Service, platform: Platform, variables: Mapping[str, str]) -> str:
    """64 hex characters: equal exactly when a running process of `service` need not be restarted. `variables` are the
    robot's own; only the declared ones count."""
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


def checks(manifest: Manifest) -> dict[str, tuple[HealthCheck, ...]]:
    """The health checks of every service, by name."""
    return {service.name: service.health for service in manifest.services}


def affected(
    running: Mapping[str, str],
    wanted: Mapping[str, str],
    checks_before: Mapping[str, tuple[HealthCheck, ...]],
    checks_after: Mapping[str, tuple[HealthCheck, ...]],
) -> Affected:
    """`running` and `wanted`: fingerprints by service name."""
    start = {name for name, print_ in wanted.items() if running.get(name) != print_}
    stop = set(running) - set(wanted)
    rechecked = {name for name in wanted if checks_before.get(name, ()) != checks_after.get(name, ())}
    return Affected(tuple(sorted(start)), tuple(sorted(stop)), tuple(sorted(start | rechecked)))
