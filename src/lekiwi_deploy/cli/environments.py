"""Which environment is meant, for verbs whose route names one."""

from __future__ import annotations

from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import BadInput


def the_environment(run: Run) -> str:
    """`-e`, else the link's, else the only one that has robots, else the only one. Raises `BadInput` with the choices."""
    if run.environment:
        return run.environment
    environments = run.api.project(run.project).environments
    for names in ([e.name for e in environments if e.robots], [e.name for e in environments]):
        if len(names) == 1:
            return names[0]
        if names:
            raise BadInput(
                f"which environment of {run.project}? It has {', '.join(names)}",
                next=tuple(f"lekiwi … -e {name}" for name in names[:5]),
            )
    raise BadInput(
        f"{run.project} has no environment yet: the first robot or push makes one",
        next=("lekiwi robots add NAME --group production",),
    )
