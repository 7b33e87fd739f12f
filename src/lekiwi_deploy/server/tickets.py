"""Content tickets: short proofs that a robot may download one deployment's content.

`<robot>.<manifest digest>.<expiry, seconds since 1970>.<HMAC-SHA256, hex>`, sent as `Authorization: Ticket …`. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import msgspec

from lekiwi_deploy.errors import Unauthenticated
from lekiwi_deploy.wire.ids import ManifestDigest, RobotId, is_digest

LIFETIME = timedelta(minutes=15)
"""Long enough for a slow download to begin; the robot asks for another one over the link when it needs to resume."""


class TicketClaims(msgspec.Struct, frozen=True):
    """Who may download what, until when."""

    robot: RobotId
    digest: ManifestDigest
    expires_at: datetime


def issue(key: bytes, robot: RobotId, digest: ManifestDigest, now: datetime) -> str:
    """A ticket for `robot` to download what `digest` names, valid for `LIFETIME` from `now`."""
    body = f"{robot}.{digest}.{int((now + LIFETIME).timestamp())}"
    return f"{body}.{_signature(key, body)}"


def verify(key: bytes, ticket: str, now: datetime) -> TicketClaims:
    """What the ticket permits. Raises `Unauthenticated`: malformed, not signed with `key`, or expired."""
    body, _, signature = ticket.rpartition(".")
    if len(ticket) > 400 or not hmac.compare_digest(signature.encode(), _signature(key, body).encode()):
        raise Unauthenticated("the content ticket is not valid")
    rest, _, expiry = body.rpartition(".")
    robot, _, digest = rest.rpartition(".")
    if not robot or not is_digest(digest) or not expiry.isdigit():
        raise Unauthenticated("the content ticket is not valid")
    expires_at = datetime.fromtimestamp(int(expiry), UTC)
    if expires_at <= now:
        raise Unauthenticated("the content ticket has expired")
    return TicketClaims(RobotId(robot), ManifestDigest(digest), expires_at)


def _signature(key: bytes, body: str) -> str:
    return hmac.new(key, f"lekiwi-content-ticket:{body}".encode(), hashlib.sha256).hexdigest()
