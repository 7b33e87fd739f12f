"""lekiwi.yaml -> `ProjectSpec`, strictly: what cannot be honoured is refused with file, line, key and what to write instead."""

from __future__ import annotations

from lekiwi_deploy.server.builds.policy_file import read_environment
from lekiwi_deploy.server.builds.service_file import read_services
from lekiwi_deploy.server.builds.spec import CommandSpec, EnvironmentSpec, ProjectSpec, shell
from lekiwi_deploy.server.builds.strict_yaml import Value, read_document

FILE = "lekiwi.yaml"
KEYS = ("build", "test", "services")
DEFAULT_TIMEOUT_S = 600.0
MAX_TIMEOUT_S = 6 * 3600.0


def read_project_file(data: bytes, file: str = FILE) -> ProjectSpec:
    """What `data`, the content of a lekiwi.yaml, says. Raises `ProjectFileError` for the first mistake."""
    document = read_document(data, file)
    services = document.get("services")
    environments: list[EnvironmentSpec] = []
    for name, value in document.items():
        if name not in KEYS:
            environments.append(read_environment(name, value, KEYS))
    branches: dict[str, str] = {}
    for environment in environments:
        if environment.branch is not None:
            other = branches.setdefault(environment.branch, environment.name)
            if other != environment.name:
                raise document[environment.name].wrong(
                    f"follows the branch {environment.branch!r}, and so does {other!r}: one environment per branch"
                )
    return ProjectSpec(
        build=_command(document.get("build"), "uv sync --frozen"),
        test=_command(document.get("test"), "pytest -q"),
        services=read_services(services) if services is not None else (),
        environments=tuple(sorted(environments, key=lambda environment: environment.name)),
    )


def _command(value: Value | None, example: str) -> CommandSpec | None:
    if value is None:
        return None
    keys = value.keys(("run", "timeout"), f', for example {{run: "{example}"}}')
    if "run" not in keys:
        raise value.wrong(f'needs `run`, for example {{run: "{example}"}}')
    timeout = keys["timeout"].seconds(1, MAX_TIMEOUT_S) if "timeout" in keys else DEFAULT_TIMEOUT_S
    if keys["run"].is_list:
        run = keys["run"].texts()
        return CommandSpec(run=run, shown=" ".join(run), timeout_s=timeout)
    text = keys["run"].text()
    return CommandSpec(run=shell(text), shown=" ".join(text.split()), timeout_s=timeout)
