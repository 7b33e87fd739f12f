"""Which environment a pushed ref deploys to, or why it deploys nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.wire.ids import EnvironmentName, checked_name

MAIN_BRANCHES = frozenset({"main", "master"})
PRODUCTION = "production"
LENDERS = "preview"
"""What the names of environments and groups begin with that lend their robots to previews without being told to."""

Branches = Sequence[tuple[str, str]]
"""Patterns and what each goes to, an environment or a group, in order: `branches:` of lekiwi.yaml."""


@dataclass(frozen=True, slots=True)
class Target:
    """One environment as far as the mapping looks at it. `branch`: the configured one; `robots`: how many it has; `groups`: whose robots are its;
    `lends`: its robots go to previews; `preview`: the branch that it is the preview of; `stands_in`: nothing but robots that were added to a
    group of its name before any environment had that group."""

    name: EnvironmentName
    branch: str | None = None
    robots: int = 0
    groups: tuple[str, ...] = ()
    lends: bool = False
    preview: str | None = None
    stands_in: bool = False


@dataclass(frozen=True, slots=True)
class Deploys:
    """The ref deploys to `environment`. `why`: one phrase for a person (`main is its branch`)."""

    environment: EnvironmentName
    why: str


@dataclass(frozen=True, slots=True)
class Previews:
    """The ref deploys to `environment`, a preview of its branch that borrows robots from `pool`. `why`: as of `Deploys`."""

    environment: EnvironmentName
    branch: str
    pool: EnvironmentName
    why: str


@dataclass(frozen=True, slots=True)
class DeploysNothing:
    """The ref deploys nothing; `why` is the one line to say so."""

    why: str


def environment_for(
    ref: str, environments: Iterable[Target], option_env: str | None = None, branches: Branches = ()
) -> Deploys | Previews | DeploysNothing:
    """Where a push of `ref` (`refs/heads/main`) goes. `option_env` is the value of the push option `env=`.

    First the push option; then the environment whose configured branch it is; then the first of `branches` that fits; then, for main and
    master, `production`, else the only environment with robots; then the environment of the branch's name. A tag deploys only with the
    push option. A pattern with `*` that goes to robots that are lent makes a preview, but never of main or master. Raises `NotFound` when the
    push option or the mapping names nothing that there is, `Conflict` and `BadInput` when the branch cannot have a preview.
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
    lasting = [target for target in targets if target.preview is None]
    configured = [target for target in lasting if target.branch == branch]
    if len(configured) == 1:
        return Deploys(configured[0].name, f"{branch} is its branch")
    if configured:
        names = " and ".join(target.name for target in configured)
        return DeploysNothing(
            f"{branch} is the branch of {names}: choose one with git push -o env={configured[0].name}"
        )
    mapped = _mapped(branch, targets, branches)
    if mapped is not None:
        return mapped
    free = [target for target in lasting if target.branch is None]
    if branch in MAIN_BRANCHES:
        return _main(branch, free)
    for target in free:
        if target.name == branch:
            return Deploys(target.name, "it has the branch's name")
    return DeploysNothing(f"no environment follows the branch {branch}: kept, not deployed")


@dataclass(frozen=True, slots=True)
class Routes:
    """Everything that decides where a branch goes."""

    targets: tuple[Target, ...]
    branches: tuple[tuple[str, str], ...] = ()

    def of(self, ref: str, option_env: str | None = None) -> Deploys | Previews | DeploysNothing:
        """Where a push of `ref` goes. Raises as `environment_for`."""
        return environment_for(ref, self.targets, option_env, self.branches)

    def with_production(self) -> Routes:
        """With somewhere to go for the main branch before the first robot is there, or where only `branches:` names it."""
        there = any(target.name == PRODUCTION for target in self.targets)
        named = any(goes_to == PRODUCTION for _, goes_to in self.branches)
        grouped = any(PRODUCTION in target.groups for target in self.targets)
        nobody = not any(target.robots for target in self.targets)
        if there or not (nobody or (named and not grouped)):
            return self
        return Routes((*self.targets, Target(EnvironmentName(PRODUCTION))), self.branches)


def fits(pattern: str, branch: str) -> bool:
    """Whether the branch is meant by the pattern, in which `*` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), branch, re.DOTALL) is not None


def preview_name(branch: str) -> EnvironmentName:
    """What the preview of a branch is called: the branch, in lower case, with `-` for `/`. Raises `BadInput` when nothing can be called so."""
    name = branch.lower().replace("/", "-")
    try:
        return EnvironmentName(checked_name("an environment", name))
    except BadInput as error:
        raise BadInput(f"the branch {branch[:60]!r} can have no preview: {error.message}") from error


def _mapped(branch: str, targets: list[Target], branches: Branches) -> Deploys | Previews | None:
    for pattern, goes_to in branches:
        if not fits(pattern, branch):
            continue
        target = _target(branch, pattern, goes_to, targets)
        why = f"{pattern} goes to {goes_to}"
        if "*" not in pattern or not _lends(target, goes_to):
            return Deploys(target.name, why)
        if branch not in MAIN_BRANCHES:
            return Previews(_free_name(branch, targets), branch, target.name, why)
    return None


def _target(branch: str, pattern: str, goes_to: str, targets: list[Target]) -> Target:
    """The environment that the mapping means: of that name (unless it only stands in for the group), else the only one with the group of
    that name."""
    lasting = [target for target in targets if target.preview is None]
    named = [target for target in lasting if target.name == goes_to]
    grouped = [target for target in lasting if goes_to in target.groups]
    found = grouped if grouped and all(target.stands_in for target in named) else named
    if len(found) == 1:
        return found[0]
    said = f"branches: of lekiwi.yaml sends {branch} ({pattern}) to {goes_to!r}"
    if found:
        names = " and ".join(target.name for target in found)
        raise NotFound(
            f"{said}, a group of {names}: name one of the environments instead",
            next=tuple(f"git push -o env={target.name}" for target in found[:5]),
        )
    groups = sorted({group for target in lasting for group in target.groups})
    there = f"environments: {', '.join(target.name for target in lasting) or 'none yet'}"
    there += f"; groups: {', '.join(groups)}" if groups else ""
    raise NotFound(
        f"{said}, and there is no environment or group of that name ({there})",
        next=(f"lekiwi robots add NAME --group {goes_to}", *(f"git push -o env={one.name}" for one in lasting[:3])),
    )


def _lends(target: Target, goes_to: str) -> bool:
    """Whether the robots meant are lent: those of an environment that lends, or of one whose only group has the name for it."""
    return target.lends or (target.groups == (goes_to,) and goes_to.startswith(LENDERS))


def _free_name(branch: str, targets: list[Target]) -> EnvironmentName:
    """Raises `Conflict` when something else has the preview's name."""
    name = preview_name(branch)
    for target in targets:
        if target.name == name and target.preview != branch:
            of = f"the preview of {target.preview}" if target.preview is not None else "an environment of its own"
            raise Conflict(f"the preview of {branch} would be called {name}, which is {of}: push it under another name")
    return name


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
