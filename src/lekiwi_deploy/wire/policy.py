"""An environment's policy: who says so, when, in what order, and what happens when it goes wrong.

One definition: lekiwi.yaml is read into it, the server keeps it, `lekiwi environments` shows and sets it, rollouts keep a copy of what they
began with.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.windows import Windows


class Undo(StrEnum):
    """What is taken back when a rollout fails: `rollback_on_error`."""

    NOTHING = "nothing"  # `false`: the rollout stops; a failed version is left running, held
    ROBOT = "robot"  # each robot on which it failed goes back by itself
    WAVE = "wave"  # and so do the robots of the step that failed
    FLEET = "fleet"  # and all that took it before: `true`


class RolloutStep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One wave. How many robots have been asked in all when it is over: `robots`, or `percent` of the environment's (at least one), or all;
    `select` narrows it to robots with these labels (canaries). Over when `success` percent of those asked are healthy and nobody is under
    way; then it soaks for `soak_s`. `approval`: a person lets it begin. `max_unavailable` robots are under way at once, for each value of
    the label `per` (None: in all)."""

    robots: int | None = None
    percent: float | None = None
    select: str | None = None
    success: float = 95.0
    soak_s: float = 0.0
    approval: bool = False
    max_unavailable: int | None = None
    per: str | None = None


class Approvals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who lets a deployment go live in an environment. `count`: so many different people; 0: nobody needs to. `not_author`: whoever wrote
    the commit, or asked for the deployment, does not count. `expires_s`: nobody said yes for so long: it is rejected."""

    count: int = 1
    not_author: bool = False
    expires_s: float = 7 * 86400.0


class Preview(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The environment lends its robots to previews of branches, `robots` for each, for `lease_s` since the last push."""

    robots: int = 1
    lease_s: float = 4 * 3600.0


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is left out holds as given here: the defaults of an environment that nobody configured. `max_failures`: robots on which a
        release may fail before its rollout stops; None: 2, or 2 % of those asked if that is more. `in_flight`: robots under way at once; None:
        any number. `defer_limit_s`: the longest that robots may put a deployment off before people are told. `groups`, `select`: which robots
    belong to the environment, those of any of these groups and those whose labels fit; neither: those that a person put there. `approvals` None:
    one, of a push, where `auto_deploy` is off; none elsewhere. `min_success`: percent of all robots that must confirm, or the rollout is partial;
    None: those that are off do not count. `skip_offline`: robots that are off when a rollout begins are left out of it. `pending_expires_s`: a
    robot that was off for so long since the rollout began is not waited for any more. `preview`: it lends its robots."""

    auto_deploy: bool = True
    health_checks: str = "minimal"
    undo: Undo = Undo.FLEET
    window: Windows | None = None
    steps: tuple[RolloutStep, ...] = ()
    max_failures: int | None = None
    in_flight: int | None = None
    defer_limit_s: float = 4 * 3600.0
    groups: tuple[str, ...] = ()
    select: str | None = None
    approvals: Approvals | None = None
    min_success: float | None = None
    skip_offline: bool = False
    pending_expires_s: float = 7 * 86400.0
    preview: Preview | None = None
