"""What a push asks for. PURE: the lines git gives a hook -> which refs are built for which environment, and a line for each other one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lekiwi_deploy.errors import BadInput, LekiwiError
from lekiwi_deploy.fleet.branches import DeploysNothing, Previews, Routes
from lekiwi_deploy.wire.ids import EnvironmentName

NOTHING = "0" * 40
MAX_BRANCH = 100
MAX_LINES = 20
OPTIONS = ("env", "message", "wait")
_UPDATE = re.compile(r"([0-9a-f]{40}) ([0-9a-f]{40}) (refs/\S+)\Z")


@dataclass(frozen=True, slots=True)
class Update:
    """One ref that the push changes, from `old` to `new` (`NOTHING`: it did not, or is not to, exist)."""

    old: str
    new: str
    ref: str

    @property
    def is_delete(self) -> bool:
        """Whether it removes the ref."""
        return self.new == NOTHING

    @property
    def short(self) -> str:
        """The ref as people say it."""
        return self.ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


@dataclass(frozen=True, slots=True)
class Options:
    """Push options. `wait`: follow the rollout on the terminal."""

    env: str | None = None
    message: str | None = None
    wait: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """`builds`: what is built, and for which environment; `lines`: one for each other ref; `refusals`: why nothing is accepted; `previews`: which
    of the environments are previews, of what."""

    builds: tuple[tuple[Update, EnvironmentName], ...]
    lines: tuple[str, ...]
    refusals: tuple[str, ...]
    previews: Mapping[EnvironmentName, Previews] = field(default_factory=dict)

    def heading(self, update: Update, environment: EnvironmentName) -> str | None:
        """Which of several refs the lines that follow are about, and where it goes; None: there is only one, and its last line says so."""
        preview = self.previews.get(environment)
        if preview is None and len(self.builds) < 2:
            return None
        where = f"{environment}, a preview on robots of {preview.pool}" if preview is not None else environment
        return f"=====> {update.short}@{update.new[:7]} → {where}"


def read_updates(text: str) -> tuple[Update, ...]:
    """What git writes to a hook's stdin. Raises `BadInput`."""
    found: list[Update] = []
    for line in text.splitlines():
        match = _UPDATE.match(line)
        if match is None:
            raise BadInput(f"this is no update of a ref: {line[:200]!r}")
        found.append(Update(match[1], match[2], match[3]))
    return tuple(found)


def read_options(given: Sequence[str]) -> Options:
    """The push options. Raises `BadInput` for one that is not known, with the nearest."""
    found: dict[str, str] = {}
    for option in given:
        name, _, value = option.partition("=")
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(OPTIONS)}"
            raise BadInput(f"there is no push option {name[:40]!r}: {hint}")
        found[name] = value.strip()
    wait = found.get("wait", "true").lower()
    if wait not in ("true", "false", ""):
        raise BadInput(f"the push option wait is true or false, not {wait[:40]!r}")
    if "env" in found and not found["env"]:
        raise BadInput("the push option env needs a name: git push -o env=staging")
    return Options(env=found.get("env"), message=found.get("message") or None, wait=wait != "false")


def plan_push(
    updates: Sequence[Update],
    routes: Routes,
    options: Options,
    *,
    default_branch: str,
    forced: frozenset[str],
) -> Plan:
    """What to do with each ref. `default_branch`: HEAD's; `forced`: refs whose new commit does not follow the old one."""
    previews: dict[EnvironmentName, Previews] = {}
    builds: list[tuple[Update, EnvironmentName]] = []
    lines: list[str] = []
    refusals: list[str] = []
    taken: dict[str, str] = {}
    for update in updates:
        if update.is_delete:
            _delete(update, routes, default_branch, lines, refusals)
            continue
        try:
            decided = routes.of(update.ref, _option_for(update, updates, options))
        except LekiwiError as error:
            refusals += [error.message, *(f"  {command}" for command in error.next)]
            continue
        if isinstance(decided, DeploysNothing):
            lines.append(f"{update.short}: {decided.why}" if update.short not in decided.why else decided.why)
            continue
        if len(update.short) > MAX_BRANCH:
            refusals.append(
                f"the branch name {update.short[:40]}… is longer than {MAX_BRANCH} characters and cannot be deployed"
            )
            continue
        other = taken.setdefault(decided.environment, update.short)
        if other != update.short:
            refusals.append(f"{other} and {update.short} both deploy to {decided.environment}: push one of them")
            continue
        if update.ref in forced:
            lines.append(
                f"{update.short} was {update.old[:7]} and does not follow it (a forced push): what is pushed now is deployed"
            )
        builds.append((update, decided.environment))
        if isinstance(decided, Previews):
            previews[decided.environment] = decided
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… and {len(lines) - MAX_LINES:,} more refs that deploy nothing"]
    return Plan(tuple(builds), tuple(lines), tuple(refusals), previews)


def _option_for(update: Update, updates: Sequence[Update], options: Options) -> str | None:
    """`-o env=` is meant for the branch; a tag that is pushed along only names its version."""
    branches = any(other.ref.startswith("refs/heads/") and not other.is_delete for other in updates)
    if update.ref.startswith("refs/tags/") and branches:
        return None
    return options.env if update.ref.startswith(("refs/heads/", "refs/tags/")) else None


def _delete(update: Update, routes: Routes, default_branch: str, lines: list[str], refusals: list[str]) -> None:
    if update.ref == f"refs/heads/{default_branch}":
        refusals.append(f"{update.short} is the project's main branch and cannot be deleted")
        return
    for target in routes.targets:
        if target.preview is not None and update.ref == f"refs/heads/{target.preview}":
            return  # said once it is gone: its preview ends with it
        if target.branch is not None and update.ref == f"refs/heads/{target.branch}":
            refusals.append(f"{update.short} is the branch of {target.name} and cannot be deleted while it is")
            return
    lines.append(f"{update.short} is deleted: nothing is deployed by that, and robots keep what they run")


def tags_of(updates: Iterable[Update]) -> Mapping[str, str]:
    """Tags that the push brings: name -> object."""
    return {
        update.ref.removeprefix("refs/tags/"): update.new
        for update in updates
        if update.ref.startswith("refs/tags/") and not update.is_delete
    }
