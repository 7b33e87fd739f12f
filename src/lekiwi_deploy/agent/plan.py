"""The live deployment's services on this robot: what each is to be started as, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lekiwi_deploy.agent.config import AgentConfig, read_variables
from lekiwi_deploy.agent.environment import launch, missing_variables, service_port
from lekiwi_deploy.agent.log_lines import Hide, as_it_is
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch, Sealed, instance_id
from lekiwi_deploy.agent.variables.keeping import Given
from lekiwi_deploy.robot.instance_types import Strategy, strategy
from lekiwi_deploy.wire.fingerprints import fingerprints
from lekiwi_deploy.wire.ids import InstanceId
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import HealthCheck, Manifest, ProcessCheck, Service
from lekiwi_deploy.wire.platforms import Platform

_NONE = Given()


@dataclass(frozen=True)
class Plan:
    """Of one deployment. `variables`: those that the server gave with it (`given`), and before them the robot's `own`, as they were when
    it was made; `trouble`: what to tell about them. `hide`: what may be shown of what commands write."""

    ref: DeploymentRef
    manifest: Manifest
    services: Mapping[str, Service]
    fingerprints: Mapping[str, str]
    variables: Mapping[str, str] = field(repr=False)
    own: frozenset[str]
    trouble: tuple[str, ...]
    paths: Paths
    config: AgentConfig
    given: Given = _NONE
    hide: Hide = as_it_is

    def launch(self, name: str, port: int | None = None) -> Launch | None:
        """How to start the service, listening on `port` (None: on its public one); None: there is none of that name."""
        service = self.services.get(name)
        if service is None:
            return None
        return launch(
            self.paths,
            self.config,
            self.ref,
            self.manifest,
            service,
            self.fingerprints[name],
            self.variables,
            port=port,
            sealed=self._sealed(service),
            hide=self.hide,
        )

    def _sealed(self, service: Service) -> Sealed | None:
        """What it declares of what the server gave. While that was never opened it may be anything that the robot has not itself."""
        given, asked = self.given, [name for name in service.env if name not in self.own]
        marks = {name: given.marks[name] for name in asked if name in given.marks}
        if not marks and (given.trouble is None or given.marks or not asked):
            return None
        trouble = f"the variables of {self.ref.id} cannot be opened: {given.trouble}" if given.trouble else None
        return Sealed(given.kept.given if given.kept is not None else None, marks, trouble)

    def instance(self, name: str) -> InstanceId:
        """The version of the service that this plan wants."""
        return instance_id(name, self.fingerprints[name])

    def checks(self, name: str) -> tuple[HealthCheck, ...]:
        """Its health checks, at least one."""
        return self.services[name].health or (ProcessCheck(),)

    def by_port(self, name: str) -> bool:
        """Whether its processes listen on private ports."""
        return self.services[name].port is not None and strategy(self.services[name]) is not Strategy.STOP

    def port(self, name: str) -> int | None:
        """Its public port on this robot."""
        return service_port(self.services[name], self.config)


def make_plan(
    paths: Paths,
    config: AgentConfig,
    platform: Platform,
    ref: DeploymentRef,
    manifest: Manifest,
    given: Given = _NONE,
    hide: Hide = as_it_is,
) -> Plan:
    """With the robot's own variables as they are now, and those that were `given` with the deployment."""
    own, wrong = read_variables(paths)
    services = {service.name: service for service in manifest.services}
    known = {*own, *given.marks}
    unset = [
        f"{name} is started without {', '.join(missing)}, which nobody has set: lekiwi env add {missing[0]}=VALUE "
        f"-e {config.environment}, or in {paths.variables}"
        for name, service in services.items()
        if given.trouble is None and (missing := missing_variables(service, known))
    ]
    if given.trouble is not None:
        unset = [f"the variables of {ref.id} cannot be opened, so what reads them is not started: {given.trouble}"]
    marks = {name: f"sealed {mark}" for name, mark in given.marks.items()}
    return Plan(
        ref=ref,
        manifest=manifest,
        services=services,
        fingerprints=fingerprints(manifest, platform, {**marks, **own}),
        variables={**given.values, **own},
        own=frozenset(own),
        trouble=(*wrong, *unset),
        paths=paths,
        config=config,
        given=given,
        hide=hide,
    )
