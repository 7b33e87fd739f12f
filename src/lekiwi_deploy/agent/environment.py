"""What a service's process is given: command, folder, variables (see ARCHITECTURE.md)."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

from lekiwi_deploy.agent.config import AgentConfig
from lekiwi_deploy.agent.log_lines import Hide, as_it_is
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.supervisor import Launch, Sealed, instance_id
from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import Manifest, Service

_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
_STATE = "LEKIWI_STATE"
_INSTANCE = "LEKIWI_INSTANCE"


def family_prefix(paths: Paths) -> str:
    """What the variable assignment begins with that every process of this robot's services inherits."""
    return f"{_STATE}={paths.state}/"


def service_port(service: Service, config: AgentConfig) -> int | None:
    """The service's own port on this robot."""
    return None if service.port is None else service.port + config.port_offset


def launch(
    paths: Paths,
    config: AgentConfig,
    ref: DeploymentRef,
    manifest: Manifest,
    service: Service,
    fingerprint: str,
    variables: Mapping[str, str],
    *,
    port: int | None = None,
    sealed: Sealed | None = None,
    hide: Hide = as_it_is,
) -> Launch:
    """How to start `service` of a deployment that is laid out. `variables`: the robot's own, and what the server gave; `port`: where it is
    to listen, if not on its public port; `sealed`, `hide`: see `Launch`."""
    slot = paths.deployments / ref.id
    mark = f"{instance_id(service.name, fingerprint)}@{paths.root}"
    state = paths.state / service.name
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment = {
        **inherited,
        **{name: variables[name] for name in service.env if name in variables},
        "PATH": os.pathsep.join(
            [
                *(str(slot / folder) for folder in manifest.bin_path),
                str(paths.bin),
                os.environ.get("PATH", _SYSTEM_PATH),
            ]
        ),
        "PYTHONUNBUFFERED": "1",
        "LEKIWI_ROBOT": config.robot,
        "LEKIWI_DEPLOYMENT": ref.id,
        "LEKIWI_VERSION": ref.version,
        "LEKIWI_SERVICE": service.name,
        "LEKIWI_BUSY": str(paths.busy),
        "LEKIWI_HOLD": str(paths.hold_socket),
        _STATE: str(state),
        _INSTANCE: mark,
    }
    if manifest.python_path:
        environment["PYTHONPATH"] = os.pathsep.join(str(slot / folder) for folder in manifest.python_path)
    public = service_port(service, config)
    if public is not None:
        port = public if port is None else port
        environment |= {"PORT": str(port), "LEKIWI_PORT": str(public)}
    lock = paths.locks / service.exclusive if service.exclusive is not None else None
    if lock is not None:
        environment["LEKIWI_LOCK"] = str(lock)
    return Launch(
        instance=instance_id(service.name, fingerprint),
        service=service.name,
        run=service.run,
        folder=slot / service.folder,
        slot=slot,
        state=state,
        environment=environment,
        deployment=ref.id,
        fingerprint=fingerprint,
        log=paths.logs / f"{instance_id(service.name, fingerprint)}.log",
        family=f"{_INSTANCE}={mark}",
        grace_s=service.stop_grace_s,
        port=port,
        lock=lock,
        notify=service.notify,
        watchdog_s=service.watchdog_s,
        needs=service.needs,
        sealed=sealed,
        hide=hide,
    )


def missing_variables(service: Service, variables: Collection[str]) -> tuple[str, ...]:
    """Declared variables that are not among these names; they stay unset."""
    return tuple(name for name in service.env if name not in variables)


def link_interpreter(paths: Paths, interpreter: str) -> None:
    """Make `python3` and `python` in the agent's bin folder name the agent's own interpreter."""
    for name in ("python3", "python"):
        link = paths.bin / name
        if link.is_symlink() and str(link.readlink()) == interpreter:
            continue
        new = paths.bin / f".{name}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(interpreter)
        new.replace(link)
