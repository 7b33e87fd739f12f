"""Which environment a pushed ref deploys to, or why it deploys nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.wire.ids import EnvironmentName

MAIN_BRANCHES = frozenset({"main", "master"})
PRODUCTION = "production"


@dataclass(frozen=True, slots=True)
class Target:
    """One environment as far as the mapping looks at it. `branch`: the configured one; `robots`: how many it has."""

    name: EnvironmentName
    branch: str | None = None
    robots: int = 0


@dataclass(frozen=True, slots=True)
class Deploys:
    """The ref deploys to `environment`. `why`: one phrase for a person (`main is its branch`)."""

    environment: EnvironmentName
    why: str


@dataclass(frozen=True, slots=True)
class DeploysNothing:
    """The ref deploys nothing; `why` is the one line to say so."""

    why: str


def environment_for(
    ref: str, environments: Iterable[Target], option_env: str | None = None
) -> Deploys | DeploysNothing:
    """Where a push of `ref` (`refs/heads/main`) goes. `option_env` is the value of the push option `env=`.

    First the push option; then the environment whose configured branch it is; then, for main and master, `production`, else
    the only environment with robots; then the environment of the branch's name. A tag deploys only with the push option.
    Raises `NotFound` when the push option names no environment.
    """
    targets = sorted(environments, key=lambda target: target.name)
    if option_env is not None:
        return _by_option(option_env, targets)
    if ref.startswith("refs/tags/"):
        tag = ref.removeprefix("refs/tags/")
        return DeploysNothing(f"the tag {tag} names a version and deploys nothing by itself")
    if not ref.startswith("refs/heads/"):
        return DeploysNothing(f"{ref} is neither a branch nor a tag: kept, not deployed")
    branch = ref.removeprefix("refs/heads/")
    configured = [target for target in targets if target.branch == branch]
    if len(configured) == 1:
        return Deploys(configured[0].name, f"{branch} is its branch")
    if configured:
        names = " and ".join(target.name for target in configured)
        return DeploysNothing(
            f"{branch} is the branch of {names}: choose one with git push -o env={configured[0].name}"
        )
    free = [target for target in targets if target.branch is None]
    if branch in MAIN_BRANCHES:
        return _main(branch, free)
    for target in free:
        if target.name == branch:
            return Deploys(target.name, "it has the branch's name")
    return DeploysNothing(f"no environment follows the branch {branch}: kept, not deployed")


def _by_option(wanted: str, targets: list[Target]) -> Deploys:
    for target in targets:
        if target.name == wanted:
            return Deploys(target.name, "chosen with -o env=")
    known = ", ".join(target.name for target in targets) or "none yet"
    raise NotFound(
        f"there is no environment {wanted[:60]!r} (-o env=); there are: {known}",
        next=tuple(f"git push -o env={target.name}" for target in targets[:5])
        or ("lekiwi robots add NAME --group production",),
    )


def _main(branch: str, free: list[Target]) -> Deploys | DeploysNothing:
    for target in free:
        if target.name == PRODUCTION:
            return Deploys(target.name, f"{branch} goes to {PRODUCTION}")
    with_robots = [target for target in free if target.robots > 0]
    if len(with_robots) == 1:
        return Deploys(with_robots[0].name, "the only environment with robots")
    if with_robots:
        names = ", ".join(target.name for target in with_robots)
        return DeploysNothing(f"{branch} could go to {names}: choose one with git push -o env={with_robots[0].name}")
    return DeploysNothing(
        f"no environment with robots follows {branch}: kept, not deployed; add one with "
        f"lekiwi robots add NAME --group {PRODUCTION}"
    )
