"""Which services a change of deployment touches, and which of them the trial judges. What a process depends on: wire/fingerprints.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.wire.manifest import HealthCheck, Manifest


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
