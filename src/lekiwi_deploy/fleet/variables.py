"""Whose variable a robot gets: of all versions that there are, the newest of each name in each scope, and of those the narrowest that fits.

Robot goes before tag, tag before branch, branch before environment, environment before project. Of two tags the selector with more terms goes
first, of two branch patterns the one with more letters, then the one that was set last.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import msgspec

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.labels import Selector, Term, parse_selector
from lekiwi_deploy.wire.ids import checked_name
from lekiwi_deploy.wire.policy import Policy
from lekiwi_deploy.wire.variables import Scope, VariableDifference

_SOUNDS_SECRET = ("KEY", "TOKEN", "SECRET", "PASS")
_BRANCH = re.compile(r"[^\s\x00-\x1f\x7f~^:?\[\\]{1,100}\Z")
_ORDER = {scope: number for number, scope in enumerate(Scope)}


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `variables`. `sealed` None: the name was removed; empty: the key that it was sealed with is lost. `fingerprint`: see
    `wire.variables.Variable`."""

    revision: int
    scope: Scope
    of: str
    name: str
    sealed: bytes | None
    secret: bool
    fingerprint: str
    by: str
    at: datetime

    @property
    def removed(self) -> bool:
        """Whether the name is gone from its scope with this version."""
        return self.sealed is None

    @property
    def lost(self) -> bool:
        """Whether there is a value that nobody can open any more."""
        return self.sealed == b""

    @property
    def key(self) -> tuple[Scope, str, str]:
        """What it is a version of."""
        return self.scope, self.of, self.name

    @property
    def whose(self) -> str:
        """`environment staging`, `tag hw=v2`, `project`."""
        return f"{self.scope} {self.of}".strip()


@dataclass(frozen=True, slots=True)
class Where:
    """Who asks: a deployment of `branch` in `environment` (`preview`: of a branch, on lent robots), on `robot`. `labels`, `robot` None: no
    robot in particular, so that variables of tags and robots do not count."""

    environment: str
    preview: bool = False
    branch: str | None = None
    labels: Mapping[str, str] | None = None
    robot: str | None = None


def concerns(scope: Scope, of: str, where: Where) -> bool:
    """Whether a variable of this scope is for `where`."""
    match scope:
        case Scope.PROJECT:
            return not where.preview
        case Scope.ENVIRONMENT:
            return of == where.environment
        case Scope.BRANCH:
            return where.branch is not None and _branch_fits(of, where.branch)
        case Scope.TAG:
            return where.labels is not None and selector(of).fits(where.labels)
        case Scope.ROBOT:
            return where.robot is not None and of == where.robot


@lru_cache(1000)
def selector(of: str) -> Selector:
    """The selector of a tag's variables, read once."""
    return parse_selector(of)


def resolve(versions: Iterable[Version], where: Where) -> dict[str, Version]:
    """By name, what `where` gets of `versions` (the newest of each name in each scope). Removed ones leave the place to wider scopes."""
    found: dict[str, Version] = {}
    for version in versions:
        if version.removed or not concerns(version.scope, version.of, where):
            continue
        before = found.get(version.name)
        if before is None or _narrowness(version) > _narrowness(before):
            found[version.name] = version
    return dict(sorted(found.items()))


def _narrowness(version: Version) -> tuple[int, int, int]:
    within = 0
    if version.scope is Scope.TAG:
        within = len(selector(version.of).terms)
    elif version.scope is Scope.BRANCH:
        within = len(version.of.replace("*", "")) + (0 if "*" in version.of else 1000)
    return _ORDER[version.scope], within, version.revision


def _branch_fits(pattern: str, branch: str) -> bool:
    if "*" not in pattern:
        return pattern == branch
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), branch, re.DOTALL) is not None


def checked_scope(scope: Scope, of: str) -> tuple[str, ...]:
    """Whose variables are meant, in one form for all ways to write it: several only of environments (`a,b`). Raises `BadInput`."""
    match scope:
        case Scope.PROJECT:
            if of:
                raise BadInput(f"variables of the project are of nobody else: {of[:60]!r} cannot be named with them")
            return ("",)
        case Scope.ENVIRONMENT:
            return tuple(dict.fromkeys(checked_name("an environment", one.strip()) for one in of.split(",")))
        case Scope.BRANCH:
            if not _BRANCH.match(of):
                raise BadInput(f"{of[:60]!r} cannot name a branch, nor a pattern such as pr-*")
            return (of,)
        case Scope.TAG:
            if not (terms := parse_selector(of).terms):
                raise BadInput("a tag without a label means every robot: leave --tag out")
            return (", ".join(sorted(_written(term) for term in terms)),)
        case Scope.ROBOT:
            return (checked_name("a robot", of),)


def _written(term: Term) -> str:
    if term.values is None:
        return f"!{term.key}" if term.negated else term.key
    if len(term.values) == 1:
        return f"{term.key}{'!=' if term.negated else '='}{next(iter(term.values))}"
    return f"{term.key} {'not in' if term.negated else 'in'} ({', '.join(sorted(term.values))})"


def protected(policy: Policy | None) -> bool:
    """Whether people say what goes live there: then variables are secrets unless it is said otherwise."""
    if policy is None:
        return False
    return not policy.auto_deploy or (policy.approvals is not None and policy.approvals.count > 0)


def is_secret(name: str, said: bool | None, before: Version | None, *, guarded: bool) -> bool:
    """Whether a value that is set now is a secret: as it was `said`, else as it is, else by its name or because its environment is `guarded`."""
    if said is not None:
        return said
    if before is not None and not before.removed:
        return before.secret
    return guarded or any(word in name.upper() for word in _SOUNDS_SECRET)


def differences(
    a: Mapping[tuple[str, ...], Version], b: Mapping[tuple[str, ...], Version]
) -> tuple[tuple[VariableDifference, ...], int]:
    """What differs from `a` to `b` (by name, or by scope and name), by name; and how many are the same."""
    changed: list[VariableDifference] = []
    same = 0
    for key in sorted(a.keys() | b.keys(), key=lambda key: (key[-1], key)):
        one, other = a.get(key), b.get(key)
        if one is not None and other is not None and (one.fingerprint, one.secret) == (other.fingerprint, other.secret):
            same += 1
            continue
        changed.append(
            VariableDifference(
                name=key[-1],
                before=one.fingerprint if one else None,
                after=other.fingerprint if other else None,
                before_of=one.whose if one else "",
                after_of=other.whose if other else "",
                before_revision=one.revision if one else None,
                after_revision=other.revision if other else None,
                secret=any(version is not None and version.secret for version in (one, other)),
            )
        )
    return tuple(changed), same


def largest_together(sizes: Collection[tuple[str, int]]) -> int:
    """Bytes that one robot could get at most, of the (name, bytes) of all scopes: one value of each name."""
    largest: dict[str, int] = {}
    for name, size in sizes:
        largest[name] = max(largest.get(name, 0), size)
    return sum(largest.values())
