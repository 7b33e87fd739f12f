"""What a wanted change of variables comes to, name by name, against what there is; and what forbids it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet.variables import Version, is_secret
from lekiwi_deploy.wire.variables import ChangeVariables, SetVariable, checked_value, checked_variable

MAX_NAMES = 1000
_Fingerprint = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Setting:
    """A name that gets another value, or becomes a secret or none."""

    name: str
    value: str = field(repr=False)
    secret: bool
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Settled:
    """Names by what becomes of them, each sorted. `settings`: of those that are added or updated."""

    settings: tuple[Setting, ...]
    added: tuple[str, ...]
    updated: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: tuple[str, ...]

    @property
    def changed(self) -> tuple[str, ...]:
        """All that is another now."""
        return tuple(sorted({*self.added, *self.updated, *self.removed}))


def check_change(asked: ChangeVariables) -> None:
    """Raises `BadInput` for what could never be done, whatever there is."""
    if not asked.set and not asked.remove and not asked.prune:
        raise BadInput("nothing is to be set or removed")
    if len(asked.set) + len(asked.remove) > MAX_NAMES:
        raise BadInput(f"at most {MAX_NAMES} variables can be changed at once")
    names: set[str] = set()
    for one in asked.set:
        checked_value(checked_variable(one.name), one.value)
        if one.name in names:
            raise BadInput(f"{one.name} is set twice")
        names.add(one.name)
    if both := names.intersection(asked.remove):
        raise BadInput(f"{min(both)} is both set and removed")


def settle(
    asked: ChangeVariables,
    present: Mapping[str, Version],
    whose: str,
    option: str,
    *,
    guarded: bool,
    print_of: _Fingerprint,
) -> Settled:
    """What the change makes of `present`, the scope's versions by name. `whose`, `option`: the scope in words and as on a command line.

    Raises `Conflict` (to be added, but there), `NotFound` (to be updated or removed, but not there).
    """
    there = {name: version for name, version in present.items() if not version.removed}
    _check_there(asked, there, whose, option)
    settings: list[Setting] = []
    added: list[str] = []
    updated: list[str] = []
    unchanged: list[str] = []
    for one in sorted(asked.set, key=lambda one: one.name):
        setting = _setting(one, there.get(one.name), guarded=guarded, print_of=print_of)
        before = there.get(one.name)
        if (
            before is not None
            and not before.lost
            and (before.fingerprint, before.secret) == (setting.fingerprint, setting.secret)
        ):
            unchanged.append(one.name)
            continue
        settings.append(setting)
        (added if before is None else updated).append(one.name)
    removed = set(asked.remove)
    if asked.prune:
        removed |= there.keys() - {one.name for one in asked.set} - set(asked.keep)
    return Settled(tuple(settings), tuple(added), tuple(updated), tuple(sorted(removed)), tuple(unchanged))


def _setting(one: SetVariable, before: Version | None, *, guarded: bool, print_of: _Fingerprint) -> Setting:
    secret = is_secret(one.name, one.secret, before, guarded=guarded)
    return Setting(one.name, one.value, secret, print_of(one.name, one.value))


def _check_there(asked: ChangeVariables, there: Mapping[str, Version], whose: str, option: str) -> None:
    names = [one.name for one in asked.set]
    if not asked.replace and (known := sorted(there.keys() & set(names))):
        raise Conflict(
            f"{_listed(known)} of {whose} {'is' if len(known) == 1 else 'are'} there already",
            next=(f"lekiwi env update {known[0]}{option}",),
            details={"names": known},
        )
    missing = [name for name in names if name not in there] if asked.existing else []
    if missing:
        raise NotFound(
            f"there is no {_listed(missing)} of {whose}",
            next=(f"lekiwi env add {missing[0]}{option}", "lekiwi env list"),
            details={"names": missing},
        )
    gone = [name for name in asked.remove if name not in there]
    if gone:
        raise NotFound(f"there is no {_listed(gone)} of {whose}", next=("lekiwi env list",), details={"names": gone})


def _listed(names: list[str]) -> str:
    shown = ", ".join(name[:60] for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
