"""A policy as lekiwi.yaml writes it: what `policy_file` reads, the other way round. What is written here is read back as the same policy."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import yaml

from lekiwi_deploy.errors import NotFound
from lekiwi_deploy.server.builds.policy_file import ENVIRONMENT, build_environment
from lekiwi_deploy.server.builds.quantities import percent_words, span_words
from lekiwi_deploy.server.builds.spec import EnvironmentSpec
from lekiwi_deploy.server.builds.strict_yaml import Value, read_document, read_value
from lekiwi_deploy.server.builds.window_words import window_data
from lekiwi_deploy.wire.environments import Setting
from lekiwi_deploy.wire.policy import Approvals, Policy, Preview, RolloutStep, Undo

Plain = str | int | float | bool | None | list[object] | dict[str, object]
"""What YAML holds."""

_DEFAULT = Policy()


def written(spec: EnvironmentSpec) -> dict[str, str]:
    """The keys that say something else than their default, each with its value on one line; in the order of the reference."""
    found = _data(spec)
    return {key: line(found[key]) for key in ENVIRONMENT.names if key in found}


def shown_default(key: str) -> str:
    """What holds without `key`: a value, or words in parentheses; without markup."""
    (known,) = (one for one in ENVIRONMENT.keys if one.name == key)
    text = known.shown_default().replace("`", "")
    return text if not known.without else f"({text})"


def block(spec: EnvironmentSpec) -> str:
    """The environment's block of lekiwi.yaml: what differs from the defaults, each with its default in a comment, and the rest as comments."""
    said = written(spec)
    data = _data(spec)
    lines: list[str] = []
    for key in ENVIRONMENT.names:
        if key not in said:
            lines.append(f"  # {key}: {shown_default(key)}")
            continue
        if key == "rollout" and isinstance(steps := data[key], list):
            lines += [f"  {key}:  # default: {shown_default(key)}", *(f"    - {line(step)}" for step in steps)]
        else:
            lines.append(f"  {f'{key}: {said[key]}':<44}  # default: {shown_default(key)}")
    return "\n".join([f"{spec.name}:" if said else f"{spec.name}: {{}}", *lines]) + "\n"


def values(spec: EnvironmentSpec) -> dict[str, Value]:
    """What is written, as it would be read: to change some of it, and read the whole again."""
    return {key: read_value(text, f"{spec.name}.{key}") for key, text in written(spec).items()}


def changed(spec: EnvironmentSpec, given: Mapping[str, str], unset: tuple[str, ...] = ()) -> EnvironmentSpec:
    """`spec` with these keys written anew (`unset`: with their defaults). Raises `ProjectFileError` as lekiwi.yaml would."""
    known = values(spec)
    for key in unset:
        known.pop(key, None)
    known.update((key, _given(spec.name, key, text)) for key, text in given.items())
    read = build_environment(spec.name, known)
    return EnvironmentSpec(read.name, read.branch, _same_window(spec.policy, read.policy, {*given, *unset}))


def from_text(name: str, text: str, file: str) -> EnvironmentSpec:
    """The environment that a text makes: its block, or a whole lekiwi.yaml that has it. `file`: what the text is called. Raises
    `ProjectFileError`, and `NotFound` when it says nothing of the environment."""
    document = read_document(text.encode(), file)
    if name in document:
        value = document[name]
        return build_environment(name, {} if value.is_null else value.mapping())
    if document and not any(key in ENVIRONMENT.names for key in document):
        raise NotFound(f"{file} says nothing of {name}: it has {', '.join(document)}")
    return build_environment(name, document)


def settings(spec: EnvironmentSpec) -> tuple[Setting, ...]:
    """Every key, in the order of the reference."""
    said = written(spec)
    return tuple(
        Setting(key=key, value=said.get(key, ""), default=key not in said, means=shown_default(key))
        for key in ENVIRONMENT.names
    )


def line(data: object) -> str:
    """`data` as YAML on one line."""
    text = yaml.safe_dump(data, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _given(name: str, key: str, text: str) -> Value:
    """What a person gave for one key. Where the value is plain text, signs that YAML takes for its own need no quotes (`select=!spare`)."""
    return read_value(text, f"{name}.{key}", plain=key in ("branch", "select", "deployment_window", "groups"))


def _same_window(before: Policy, read: Policy, touched: set[str]) -> Policy:
    """The window as it was, where it was not changed: it is not always written as it was."""
    if "deployment_window" in touched:
        return read
    return msgspec.structs.replace(read, window=before.window)


def _data(spec: EnvironmentSpec) -> dict[str, Plain]:
    policy = spec.policy
    every: dict[str, Plain] = {
        "branch": spec.branch,
        "groups": policy.groups[0] if len(policy.groups) == 1 else list(policy.groups),
        "select": policy.select,
        "auto_deploy": policy.auto_deploy,
        "approvals": _approvals(policy.approvals),
        "health_checks": policy.health_checks,
        "rollback_on_error": {Undo.NOTHING: False, Undo.FLEET: True}.get(policy.undo, policy.undo.value),
        "deployment_window": window_data(policy.window) if policy.window is not None else None,
        "rollout": [_step(step) for step in policy.steps],
        "max_failures": policy.max_failures,
        "in_flight": policy.in_flight,
        "min_success": None if policy.min_success is None else percent_words(policy.min_success),
        "skip_offline": policy.skip_offline,
        "pending_expires": span_words(policy.pending_expires_s),
        "defer_limit": span_words(policy.defer_limit_s),
        "preview": _preview(policy.preview),
    }
    told = spec.policy != _DEFAULT or spec.branch is not None
    return {key: value for key, value in every.items() if value not in (None, []) and _says(key, spec)} if told else {}


def _says(key: str, spec: EnvironmentSpec) -> bool:
    field = _FIELDS.get(key, key)
    return field == "branch" or getattr(spec.policy, field) != getattr(_DEFAULT, field)


_FIELDS = {
    "rollback_on_error": "undo",
    "deployment_window": "window",
    "rollout": "steps",
    "pending_expires": "pending_expires_s",
    "defer_limit": "defer_limit_s",
}
"""What a key is called in the policy, where that is another name."""


def _approvals(approvals: Approvals | None) -> Plain:
    if approvals is None:
        return None
    data: dict[str, object] = {"count": approvals.count}
    if approvals.not_author:
        data["not_author"] = True
    if approvals.expires_s != Approvals().expires_s:
        data["expires"] = span_words(approvals.expires_s)
    return data if len(data) > 1 else approvals.count


def _preview(preview: Preview | None) -> Plain:
    return None if preview is None else {"robots": preview.robots, "lease": span_words(preview.lease_s)}


def _step(step: RolloutStep) -> dict[str, object]:
    data: dict[str, object] = {}
    if step.robots is not None:
        data["robots"] = step.robots
    if step.percent is not None:
        data["percent"] = percent_words(step.percent)
    if step.select is not None:
        data["select"] = step.select
    if step.success != RolloutStep().success:
        data["success"] = percent_words(step.success)
    if step.soak_s:
        data["soak"] = span_words(step.soak_s)
    if step.approval:
        data["approval"] = True
    if step.max_unavailable is not None:
        data["max_unavailable"] = f"{step.max_unavailable} per {step.per}" if step.per else step.max_unavailable
    return data
