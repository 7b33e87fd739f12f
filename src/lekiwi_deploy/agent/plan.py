"""The live deployment's services on this robot: what each is to be started as, and how it is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lekiwi_deploy.agent.config import AgentConfig, read_variables
from lekiwi_deploy.agent.environment import launch, missing_variables, service_port
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch, instance_id
from lekiwi_deploy.robot.instance_types import Strategy, strategy
from lekiwi_deploy.wire.fingerprints import fingerprints
from lekiwi_deploy.wire.ids import InstanceId
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import HealthCheck, Manifest, ProcessCheck, Service
from lekiwi_deploy.wire.platforms import Platform


@dataclass(frozen=True)
class Plan:
    """Of one deployment. `variables` are the robot's own, as they were when it was made; `trouble`: what to tell about them."""

    ref: DeploymentRef
    manifest: Manifest
    services: Mapping[str, Service]
    fingerprints: Mapping[str, str]
    variables: Mapping[str, str]
    trouble: tuple[str, ...]
    paths: Paths
    config: AgentConfig

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
        )

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


def make_plan(paths: Paths, config: AgentConfig, platform: Platform, ref: DeploymentRef, manifest: Manifest) -> Plan:
    """With the variables as they are now."""
    variables, wrong = read_variables(paths)
    services = {service.name: service for service in manifest.services}
    unset = [
        f"{name} is started without {', '.join(missing)}: not in {paths.variables}"
        for name, service in services.items()
        if (missing := missing_variables(service, variables))
    ]
    return Plan(
        ref=ref,
        manifest=manifest,
        services=services,
        fingerprints=fingerprints(manifest, platform, variables),
        variables=variables,
        trouble=(*wrong, *unset),
        paths=paths,
        config=config,
    )
