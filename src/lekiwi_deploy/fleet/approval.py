"""Whether people have to agree before a deployment goes live, whose word counts, and what came of asking them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from lekiwi_deploy.wire.approvals import ApprovalRequest, Vote
from lekiwi_deploy.wire.policy import Approvals, Policy
from lekiwi_deploy.wire.reasons import AwaitsApproval


class Way(StrEnum):
    """How a deployment comes to an environment."""

    PUSH = "push"
    DEPLOY = "deploy"
    PROMOTE = "promote"
    ALIAS = "alias"
    REDEPLOY = "redeploy"
    ROLLBACK = "rollback"  # back to what ran before: never waits for anybody


class End(StrEnum):
    """How a request ended."""

    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Tally:
    """What the votes come to. `given`: who approved and counts; `idle`: who approved and does not count; `missing`: how many more people are
    needed; `end`: None while it waits."""

    given: tuple[str, ...]
    idle: tuple[str, ...]
    missing: int
    end: End | None


def wanted(policy: Policy, way: Way) -> Approvals | None:
    """What has to be asked of people before something goes live by `way`; None: nothing.

    `auto_deploy` off means that a person has a push go live, so a push needs one at least, whatever `approvals` says.
    """
    if way is Way.ROLLBACK:
        return None
    asked = policy.approvals
    if way is Way.PUSH and not policy.auto_deploy:
        asked = asked or Approvals()
        return asked if asked.count >= 1 else msgspec.structs.replace(asked, count=1)
    return asked if asked is not None and asked.count >= 1 else None


def stricter(request: ApprovalRequest, policy: Policy, way: Way) -> ApprovalRequest:
    """The request as it is to be judged now: a policy that became stricter since it was made holds, one that became laxer does not."""
    now = wanted(policy, way)
    if now is None:
        return request
    return msgspec.structs.replace(
        request, needed=max(request.needed, now.count), not_author=request.not_author or now.not_author
    )


def expiry(asked_at: datetime, asked: Approvals) -> datetime:
    """Until when people may agree."""
    return asked_at + timedelta(seconds=asked.expires_s)


def shown(stored: ApprovalRequest, judged: ApprovalRequest) -> ApprovalRequest:
    """What is stored, with the numbers that it is judged by."""
    return msgspec.structs.replace(stored, needed=judged.needed, not_author=judged.not_author)


def is_author(person: str, request: ApprovalRequest) -> bool:
    """Whether `person` (a token's name) asked for the deployment, or wrote it: goes by the name, the address, or what stands before its @."""
    said = _names(request.author)
    return _folded(person) in said | {_folded(request.asked_by)} or bool(said & _names(person))


def _names(author: str | None) -> set[str]:
    """All that `Anna Moser <anna@example.org>` goes by."""
    if not author:
        return set()
    name, _, rest = author.partition("<")
    address = rest.partition(">")[0] or (name if "@" in name else "")
    found = {_folded(author), _folded(name), _folded(address), _folded(address.partition("@")[0])}
    return found - {""}


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def tally(request: ApprovalRequest, votes: Sequence[Vote], now: datetime) -> Tally:
    """What became of `request` with these votes, one for each person. A rejection ends it, whoever gives it; so does its time."""
    approving = [vote.by for vote in votes if vote.approved]
    given = tuple(by for by in approving if not (request.not_author and is_author(by, request)))
    idle = tuple(by for by in approving if by not in given)
    missing = max(0, request.needed - len(given))
    if request.ended is not None:
        return Tally(given, idle, missing, End(request.ended))
    if any(not vote.approved for vote in votes):
        return Tally(given, idle, missing, End.REJECTED)
    if not missing:
        return Tally(given, idle, 0, End.APPROVED)
    return Tally(given, idle, missing, End.EXPIRED if now >= request.expires_at else None)


def awaited(request: ApprovalRequest) -> AwaitsApproval:
    """An open request as a reason why its deployment is not live."""
    counted = tally(request, request.votes, request.asked_at)
    return AwaitsApproval(
        deployment=request.deployment,
        environment=request.environment,
        missing=counted.missing,
        since=request.asked_at,
        expires=request.expires_at,
        given=counted.given,
        not_author=request.not_author,
    )


def waits_for(request: ApprovalRequest, tally: Tally) -> str:
    """`2 approvals (not by its author)`, `1 more approval (anna approved)`."""
    count = tally.missing
    noun = "approval" if count == 1 else "approvals"
    more = f"{count} more {noun}" if tally.given else f"{count} {noun}"
    said = [f"{', '.join(tally.given)} approved"] if tally.given else []
    said += ["not by its author"] if request.not_author else []
    return more + (f" ({'; '.join(said)})" if said else "")
