"""The reference in docs/lekiwi-yaml.md, out of the forms that the parser reads with. Written by `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lekiwi_deploy.server.builds.approvals_file import APPROVAL_KEYS, PREVIEW_KEYS
from lekiwi_deploy.server.builds.conditions_file import CONDITIONS
from lekiwi_deploy.server.builds.form_tables import Key
from lekiwi_deploy.server.builds.health_file import CHECK
from lekiwi_deploy.server.builds.hooks_file import HOOK, HOOKS
from lekiwi_deploy.server.builds.needs_file import NEEDS
from lekiwi_deploy.server.builds.policy_file import ENVIRONMENT
from lekiwi_deploy.server.builds.project_file import PROJECT, RUN, TIMEOUT
from lekiwi_deploy.server.builds.rollout_file import STEP
from lekiwi_deploy.server.builds.service_file import SERVICE
from lekiwi_deploy.server.builds.window_file import WINDOW_KEYS

BEGIN = "<!-- reference: written by `make docs`, out of what the parser reads with -->"
END = "<!-- end of the reference -->"


def _rows(keys: tuple[Key[Any], ...]) -> Iterator[str]:
    yield "| key | what is written | without it | what it means |"
    yield "|---|---|---|---|"
    for key in keys:
        yield f"| `{key.name}` | {key.form.words()} | {key.shown_default() or '**needed**'} | {key.doc} |"


def _section(title: str, text: str, keys: tuple[Key[Any], ...]) -> Iterator[str]:
    yield from ("", f"### {title}", "", *([text, ""] if text else []))
    yield from _rows(keys)


def _lines() -> Iterator[str]:
    yield BEGIN
    yield from _section("At the top", "Any other name is an environment, see below.", PROJECT)
    yield from _section("`build` and `test`", "", (RUN, TIMEOUT))
    yield from _section("A service", "`services.NAME`; a name is 1 to 50 of a-z, 0-9, `.`, `_` and `-`.", SERVICE.keys)
    yield from _section(
        "Its `needs`",
        "As systemd enforces it. Without any, a service has its own user, a read-only system, its own `/tmp`, a writable state folder, the network, "
        "and no device. On a robot without systemd the agent runs services itself, as its own user, with no walls around them.",
        NEEDS.keys,
    )
    yield from _section(
        "Its `hooks`",
        "Each is a command, or `{run: …, timeout: …}`. Once in an attempt; an interrupted one runs again: see [trials.md](trials.md#hooks).",
        HOOKS.keys,
    )
    yield from ("", *_rows(HOOK.keys))
    yield from (
        "",
        "### Its `health`",
        "",
        "A list of checks; each has exactly one of `http`, `tcp`, `command` and `process`.",
    )
    for table in CHECK.tables:
        yield from ("", f"**`{table.said}`**", "")
        yield from _rows(table.keys)
    yield from _section(
        "`conditions`",
        "An unmet one holds the switch off, and is shown wherever the robot is; content is fetched meanwhile.",
        CONDITIONS.keys,
    )
    yield from _section("An environment", "Any other name at the top, such as `production`.", ENVIRONMENT.keys)
    yield from _section("Its `approvals`", "A number of people, or:", APPROVAL_KEYS)
    yield from _section("Its `preview`", "", PREVIEW_KEYS)
    yield from _section("Its `rollout`", "A list of steps. Each may have:", STEP.keys)
    yield from _section("Its `deployment_window`", "One window, a list of windows, or:", WINDOW_KEYS)
    yield from ("", END)


def reference() -> str:
    """The section, with its markers and without a last line break."""
    return "\n".join(_lines())


def with_reference(document: str) -> str:
    """`document` with the section between its markers brought up to date. Raises `ValueError` when they are not there."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers of the reference are missing")
    return before + reference() + after
