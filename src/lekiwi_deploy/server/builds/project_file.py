"""lekiwi.yaml -> `ProjectSpec`, strictly: what cannot be honoured is refused with file, line, key and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from lekiwi_deploy.server.builds.composed_forms import Command
from lekiwi_deploy.server.builds.conditions_file import CONDITIONS
from lekiwi_deploy.server.builds.form_tables import Key, Table
from lekiwi_deploy.server.builds.forms import Span
from lekiwi_deploy.server.builds.membership_file import BRANCHES, NAMED_GROUPS
from lekiwi_deploy.server.builds.policy_file import read_environment
from lekiwi_deploy.server.builds.service_file import Services
from lekiwi_deploy.server.builds.spec import CommandSpec, EnvironmentSpec, ProjectSpec
from lekiwi_deploy.server.builds.strict_yaml import Value, read_document
from lekiwi_deploy.wire.manifest import Conditions

FILE = "lekiwi.yaml"

TIMEOUT = Key("timeout", Span(1, 6 * 3600.0), "How long it may take.", 600.0)


RUN = Key("run", Command(), "What is run, in the project's folder.")


def _build(value: Value, given: Mapping[str, Value]) -> CommandSpec:
    shown = " ".join(given["run"].texts()) if given["run"].is_list else " ".join(given["run"].text().split())
    return CommandSpec(run=RUN.read(given), shown=shown, timeout_s=TIMEOUT.read(given))


def _command(example: str) -> Table[CommandSpec | None]:
    return Table("`{run: …, timeout: …}`", (RUN, TIMEOUT), _build, f'{{run: "{example}"}}')


BUILD = Key(
    "build",
    _command("uv sync --frozen"),
    "Runs with network; what it makes belongs to the release.",
    None,
    "what was detected",
)
TEST = Key("test", _command("pytest -q"), "Runs without network; a failure rejects the push.", None, "no tests")
SERVICES = Key("services", Services(), "The programs that run on every robot.", (), "what was detected")
CONDITIONS_KEY = Key(
    "conditions",
    CONDITIONS,
    "What must hold on a robot before it switches to this release. What a robot cannot read, it takes to hold.",
    Conditions(),
    "see below",
)
PROJECT = (BUILD, TEST, SERVICES, CONDITIONS_KEY, NAMED_GROUPS, BRANCHES)
KEYS = tuple(key.name for key in PROJECT)


def read_project_file(data: bytes, file: str = FILE) -> ProjectSpec:
    """What `data`, the content of a lekiwi.yaml, says. Raises `ProjectFileError` for the first mistake."""
    document = read_document(data, file)
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
    mapped = BRANCHES.read(document)
    for pattern, target in mapped:
        owner = next((one for one in environments if one.branch == pattern), None)
        if owner is not None and target not in (owner.name, *owner.policy.groups):
            raise document[BRANCHES.name].wrong(
                f"sends {pattern!r} to {target!r}, but it is the branch of {owner.name!r}: say one of them"
            )
    return ProjectSpec(
        build=BUILD.read(document),
        test=TEST.read(document),
        services=SERVICES.read(document),
        conditions=CONDITIONS_KEY.read(document),
        groups=NAMED_GROUPS.read(document),
        branches=mapped,
        environments=tuple(sorted(_with_mapped_groups(environments, mapped), key=lambda environment: environment.name)),
    )


def _with_mapped_groups(
    environments: Sequence[EnvironmentSpec], mapped: Sequence[tuple[str, str]]
) -> Iterator[EnvironmentSpec]:
    """`branches: {staging: staging-robots}` beside a `staging:` that names no robots: those robots are its own, under its policy. (Else
    they would be an environment of that name, to which nothing that is written here applies.)"""
    names = {environment.name for environment in environments}
    for environment in environments:
        target = next((target for pattern, target in mapped if pattern == environment.name), environment.name)
        policy = environment.policy
        if target in names or policy.groups or policy.select is not None:
            yield environment
        else:
            yield replace(environment, policy=msgspec.structs.replace(policy, groups=(target,)))
