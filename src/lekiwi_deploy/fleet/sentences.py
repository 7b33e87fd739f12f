"""A change of the history in a sentence, without who did it: `rolled production back to dep_7kQ2mX4b`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

Detail = Mapping[str, object]
SHORT = 60


def sentence(action: str, target: str, detail: Detail) -> str:
    """What was done. `target` as recorded: `project/<p>[/<environment>[/<robot or deployment>]]`, `robot/<name>`, `token/<id>`. An action that is
    not known here is said by its name."""
    parts = target.split("/")
    of = parts[1:] if parts[0] == "project" else parts[-1:]
    known = _SAID.get(action)
    if known is not None:
        return known(of, detail)
    noun, _, verb = action.partition(".")
    return f"{noun} {verb.replace('_', ' ')}: {'/'.join(of)}"


def _last(of: Sequence[str], detail: Detail) -> str:
    return of[-1] if of else ""


def _place(of: Sequence[str]) -> str:
    return of[1] if len(of) > 1 else of[0] if of else ""


def _text(detail: Detail, name: str) -> str:
    value = detail.get(name)
    return "" if value is None or value is False else str(value)


def _forced(detail: Detail) -> str:
    return ", by force" if detail.get("force") else ""


def _created(of: Sequence[str], detail: Detail) -> str:
    branch, commit = _text(detail, "branch"), _text(detail, "commit")[:7]
    come = f"{branch}@{commit}" if branch and commit else branch or commit or _text(detail, "ref")
    return f"created {_last(of, detail)}" + (f" from {come}" if come else " from a folder") + f" for {_place(of)}"


def _went_live(of: Sequence[str], detail: Detail) -> str:
    was = _text(detail, "from")
    version = _text(detail, "version")
    return (
        f"deployed {_text(detail, 'to')}{f' {version}' if version else ''} to {_place(of)}"
        + (f" (before: {was})" if was else " (the first there)")
        + _forced(detail)
    )


def _rolled_back(of: Sequence[str], detail: Detail) -> str:
    return (
        f"rolled {_place(of)} back from {_text(detail, 'from') or 'nothing'} to {_text(detail, 'to')}{_forced(detail)}"
    )


def _robot_back(of: Sequence[str], detail: Detail) -> str:
    return f"took robot {_last(of, detail)} to {_text(detail, 'to')}, where it stays{_forced(detail)}"


def _overdue(of: Sequence[str], detail: Detail) -> str:
    why = _text(detail, "why")
    return f"told that {_text(detail, 'deployment')} is overdue on robot {_last(of, detail)}" + (
        f": {why}" if why else ""
    )


def _overridden(of: Sequence[str], detail: Detail) -> str:
    what = _text(detail, "what")
    return (
        f"robot {_last(of, detail)}: {what}" if what else f"switched robot {_last(of, detail)} over what held it back"
    )


def _labels(of: Sequence[str], detail: Detail) -> str:
    labels = detail.get("labels")
    if not isinstance(labels, Mapping):
        return f"labelled robot {_last(of, detail)}"
    set_ = [f"{key}={value}" for key, value in labels.items() if value is not None]
    removed = [str(key) for key, value in labels.items() if value is None]
    said = [f"labelled {', '.join(set_)}"] if set_ else []
    said += [f"removed the label {', '.join(removed)}"] if removed else []
    return f"robot {_last(of, detail)}: {' and '.join(said) or 'no label changed'}"


def _robot_added(of: Sequence[str], detail: Detail) -> str:
    made = ", which was made for it" if detail.get("made_environment") else ""
    return f"added robot {_last(of, detail)} to {_place(of)}{made}"


def _recovered(of: Sequence[str], detail: Detail) -> str:
    live, failed = _text(detail, "live"), _text(detail, "failed")
    back = f"took {_place(of)} back to {live}" if live else f"took {failed} away from {_place(of)}"
    return f"{back}: {_text(detail, 'why')}" if _text(detail, "why") else back


def _key(key: str, values: object) -> str:
    """A key of a policy, with what it is now where that is short."""
    now = str(values[1]) if isinstance(values, Sequence) and not isinstance(values, str) and len(values) == 2 else ""
    return f"{key} to {now}" if 0 < len(now) <= SHORT else key


def _set(of: Sequence[str], detail: Detail) -> str:
    changed = detail.get("changed")
    if isinstance(changed, Mapping) and changed:
        return f"set {', '.join(_key(str(key), values) for key, values in changed.items())} of {_place(of)}"
    if isinstance(changed, Sequence) and not isinstance(changed, str) and changed:
        return f"set {', '.join(map(str, changed))} of {_place(of)}"
    commit = _text(detail, "commit")[:7]
    return f"set the policy of {_place(of)}" + (f", as lekiwi.yaml at {commit} says" if commit else "")


def _names(detail: Detail, key: str) -> str:
    names = detail.get(key)
    return (
        ", ".join(map(str, names)) if isinstance(names, Sequence) and not isinstance(names, str) else _text(detail, key)
    )


def _variables(of: Sequence[str], detail: Detail) -> str:
    """Names only, ever."""
    set_, removed = _names(detail, "set"), _names(detail, "remove") or _names(detail, "removed")
    said = [f"set {set_}"] if set_ else []
    said += [f"removed {removed}"] if removed else []
    scope, whose = _text(detail, "scope"), _text(detail, "of")
    where = f" of {f'{scope} ' if scope not in ('', 'environment') else ''}{whose or 'the project'}"
    return f"variables{where}: {' and '.join(said) or _names(detail, 'names') or 'changed'}"


def _steered(of: Sequence[str], detail: Detail) -> str:
    return f"{_text(detail, 'text') or _text(detail, 'rollout')} ({_place(of)})"


def _moved(of: Sequence[str], detail: Detail) -> str:
    was = _text(detail, "from")
    return f"moved robot {_last(of, detail)}{f' from {was}' if was else ''} to {_text(detail, 'to') or _place(of)}"


def _branches(of: Sequence[str], detail: Detail) -> str:
    pairs = detail.get("branches")
    said = ", ".join(f"{one} to {other}" for one, other in pairs.items()) if isinstance(pairs, Mapping) else ""
    return f"set where branches of {_last(of, detail)} go: {said or 'as by default'}"


def _settled(of: Sequence[str], detail: Detail) -> str:
    moved, count = detail.get("moved"), detail.get("moved_count")
    ways = sorted({str(way) for way in moved.values()}) if isinstance(moved, Mapping) else []
    return f"moved {count} robot{'' if count == 1 else 's'} where their labels say: {', '.join(ways[:5])}"


def _promoted(of: Sequence[str], detail: Detail) -> str:
    source = _text(detail, "source")
    return (
        f"promoted {_text(detail, 'to') or _text(detail, 'deployment')}"
        + (f" of {source}" if source else "")
        + f" to {_place(of)}"
    )


def _redeployed(of: Sequence[str], detail: Detail) -> str:
    how = "built again from its source" if detail.get("rebuild") else "the same content"
    return f"deployed {_text(detail, 'of')} again as {_last(of, detail)} for {_place(of)}: {how}{_forced(detail)}"


def _plain(before: str, after: str = "", *, place: bool = False) -> Callable[[Sequence[str], Detail], str]:
    def said(of: Sequence[str], detail: Detail) -> str:
        return f"{before} {_place(of) if place else _last(of, detail)}{after}{_forced(detail)}"

    return said


def _restored(of: Sequence[str], detail: Detail) -> str:
    return f"{_place(of)} runs {_text(detail, 'to')} again (before: {_text(detail, 'from')})"


def _aliased(of: Sequence[str], detail: Detail) -> str:
    was = _text(detail, "from")
    return f"set the alias {_text(detail, 'name')} to {_text(detail, 'to')}" + (f" (before: {was})" if was else "")


def _group(of: Sequence[str], detail: Detail) -> str:
    return f"defined the group {_last(of, detail)} as {_text(detail, 'selector')}"


def _asked(of: Sequence[str], detail: Detail) -> str:
    return f"asked for approval of {_last(of, detail)} in {_place(of)}"


def _lent(of: Sequence[str], detail: Detail) -> str:
    return f"lent robot {_last(of, detail)} of {_text(detail, 'home')} to the preview {_place(of)} until {_minute(detail, 'until')}"


def _returned(of: Sequence[str], detail: Detail) -> str:
    deployment, home = _text(detail, "deployment"), _text(detail, "home")
    back = f"sent robot {_last(of, detail)} back to {home}" if home else f"left robot {_last(of, detail)} where it is"
    runs = f" and {deployment}" if deployment else ""
    return f"{back}{runs}: the lease to {_place(of)} is over ({_text(detail, 'why')})"


def _previewed(of: Sequence[str], detail: Detail) -> str:
    return (
        f"opened the preview {_place(of)} of the branch {_text(detail, 'branch')}, on robots of {_text(detail, 'pool')}"
    )


def _extended(of: Sequence[str], detail: Detail) -> str:
    return f"prolonged the preview {_place(of)} until {_minute(detail, 'until')} (before: {_minute(detail, 'before')})"


def _unpreviewed(of: Sequence[str], detail: Detail) -> str:
    return f"ended the preview {_place(of)} ({_text(detail, 'why')})"


def _minute(detail: Detail, name: str) -> str:
    """`2026-08-21 18:02 UTC` of a time as it is recorded."""
    return f"{_text(detail, name)[:16].replace('T', ' ')} UTC"


_SAID: Mapping[str, Callable[[Sequence[str], Detail], str]] = MappingProxyType(
    {
        "agent.upgrade": _plain("began to upgrade the agent of robot"),
        "agent.done": _plain("upgraded the agent of robot"),
        "agent.failed": _plain("could not upgrade the agent of robot"),
        "alias.set": _aliased,
        "alias.remove": lambda of, detail: f"removed the alias {_text(detail, 'name')}",
        "deployment.approve": _plain("approved"),
        "deployment.ask": _asked,
        "deployment.create": _created,
        "deployment.expire": _plain("gave up waiting for approval of"),
        "deployment.redeploy": _redeployed,
        "deployment.reject": _plain("rejected"),
        "group.set": _group,
        "group.remove": _plain("removed the definition of the group"),
        "deployment.cancel": _plain("canceled"),
        "environment.deploy": _went_live,
        "environment.freeze": _plain("froze", place=True),
        "environment.promote": _promoted,
        "environment.recover": _recovered,
        "environment.restore": _restored,
        "environment.rollback": _rolled_back,
        "environment.alias": _promoted,
        "environment.set": _set,
        "environment.unfreeze": _plain("unfroze", place=True),
        "environment.create": _plain("made the environment", place=True),
        "environment.remove": _plain("removed the environment", place=True),
        "preview.extend": _extended,
        "preview.lease": _lent,
        "preview.open": _previewed,
        "preview.remove": _unpreviewed,
        "preview.reopen": _plain("asked for robots for the preview", place=True),
        "preview.return": _returned,
        "project.create": _plain("made the project"),
        "project.branches": _branches,
        "robot.add": _robot_added,
        "robot.drain": _plain("drained robot", ": it keeps what it runs"),
        "robot.join": _plain("joined as"),
        "robot.label": _labels,
        "robot.move": _moved,
        "robot.overdue": _overdue,
        "robot.overridden": _overridden,
        "robot.rejoin": _plain("made another join line for robot"),
        "robot.remove": _plain("removed robot"),
        "robot.resume": _plain("let robot", " go on to what its environment wants"),
        "robot.rollback": _robot_back,
        "robot.undrain": _plain("ended the drain of robot"),
        "robots.settle": _settled,
        "rollout.abort": _steered,
        "rollout.approve": _steered,
        "rollout.complete": _steered,
        "rollout.pause": _steered,
        "rollout.resume": _steered,
        "rollout.skip": _steered,
        "token.create": lambda of, detail: f"made the token {_text(detail, 'name') or _last(of, detail)}",
        "token.revoke": lambda of, detail: f"revoked the token {_text(detail, 'name') or _last(of, detail)}",
        "variables.change": _variables,
        "variables.restore": _variables,
    }
)
