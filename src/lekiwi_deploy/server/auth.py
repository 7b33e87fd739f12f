"""Tokens: their form, who a request is from, and what its role permits.

`lkd_<pat|ci|svc|enr|ses>_` + 32 base-62 characters + 6 base-62 characters of CRC-32 over all before: a mistyped or cut one is
recognised without the database, a leaked one by scanners. The database holds the SHA-256 only.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from lekiwi_deploy.errors import BadInput, NotAllowed, Unauthenticated
from lekiwi_deploy.server.nudges import Nudges
from lekiwi_deploy.server.store import tokens
from lekiwi_deploy.server.store.database import Database
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.ids import BASE62, base62

KINDS = frozenset({"pat", "ci", "svc", "enr", "ses"})
RANK: Mapping[Role, int] = MappingProxyType({Role.VIEWER: 0, Role.DEPLOYER: 1, Role.OWNER: 2})


REMEMBERED = timedelta(seconds=5)
"""How long an answer is used again; only a lost revocation hint ever makes it matter."""


def new_token(kind: str, random: Callable[[int], bytes]) -> str:
    """A fresh secret of `kind` (one of `KINDS`); show it once, store `token_digest` of it."""
    if kind not in KINDS:
        raise ValueError(f"no such kind of token: {kind}")
    body = f"lkd_{kind}_{base62(random(64), 32)}"
    return body + _checksum(body)


def token_digest(token: str) -> bytes:
    """What the database holds of a token: SHA-256, 32 bytes."""
    return hashlib.sha256(token.encode()).digest()


def checked_token(token: str, *kinds: str) -> str:
    """`token`, if it is well-formed and of one of `kinds` (any when none is given).

    Raises `Unauthenticated`: cut or mistyped, or another kind than wanted here. The message never repeats the token.
    """
    body, checksum = token[:-6], token[-6:]
    parts = body.split("_")
    if (
        len(token) > 64
        or len(parts) != 3
        or parts[0] != "lkd"
        or parts[1] not in KINDS
        or len(parts[2]) != 32
        or not all(character in BASE62 for character in parts[2])
        or _checksum(body) != checksum
    ):
        raise Unauthenticated("the token is not complete or has a typing mistake", next=("lekiwi login",))
    if kinds and parts[1] not in kinds:
        raise Unauthenticated(f"a token of the kind {parts[1]!r} does not serve here", next=("lekiwi login",))
    return token


def require(identity: Identity, role: Role) -> None:
    """Raises `NotAllowed` unless `identity` may do what `role` may."""
    if RANK[identity.role] < RANK[role]:
        raise NotAllowed(f"this needs the role {role}; the token {identity.name!r} has the role {identity.role}")


def presented_token(authorization: str | None) -> str:
    """The token in an `Authorization` header: `Bearer <token>`, or `Basic` with it as the password (git does that).

    Raises `Unauthenticated` when there is none, and `BadInput` when the token is the user name: then it stands in an address, and so
    in clear in `.git/config`, in shell histories and in logs.
    """
    scheme, _, value = (authorization or "").strip().partition(" ")
    value = value.strip()
    if not value:
        raise Unauthenticated("this needs a token", next=("lekiwi login",))
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            raise Unauthenticated("the Authorization header is not valid Basic authentication") from None
        if user.startswith("lkd_"):
            raise BadInput(
                "a token must not stand in the address, where .git/config and the shell's history keep it in clear: "
                "replace it (lekiwi tokens revoke), and let lekiwi link set up the remote; the token is the password",
                next=("lekiwi link NAME",),
            )
        if not password:
            raise Unauthenticated("the token belongs where git asks for the password", next=("lekiwi link NAME",))
        return password
    raise Unauthenticated("the Authorization header must be 'Bearer <token>'", next=("lekiwi login",))


class Authenticator:
    """Who a request is from. Answers are remembered for a few seconds; a revocation is heard at once."""

    def __init__(self, database: Database, nudges: Nudges, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._known: dict[bytes, tuple[datetime, Identity]] = {}
        nudges.call("revoked", self._forget)

    async def identify(self, authorization: str | None) -> Identity:
        """Who presents this `Authorization` header (see `presented_token`). Raises `Unauthenticated`."""
        return await self.identify_token(presented_token(authorization))

    async def identify_token(self, token: str) -> Identity:
        """Who holds this token. Raises `Unauthenticated`: malformed, unknown, expired or revoked."""
        digest = token_digest(checked_token(token, "pat", "ci", "svc", "ses"))
        now = self._now()
        known = self._known.get(digest)
        if known is not None and now < known[0]:
            return known[1]
        async with self._database.transaction() as tx:
            found = await tokens.use(tx, digest, now)
        if found is None:
            raise Unauthenticated("the token is not known to this server", next=("lekiwi login",))
        if found.revoked_at is not None:
            raise Unauthenticated(f"the token {found.name!r} was revoked", next=("lekiwi login",))
        if found.expires_at is not None and found.expires_at <= now:
            raise Unauthenticated(
                f"the token {found.name!r} expired on {found.expires_at:%Y-%m-%d}", next=("lekiwi login",)
            )
        identity = Identity(name=found.name, role=found.role, token=found.id, expires_at=found.expires_at)
        until = now + REMEMBERED if found.expires_at is None else min(now + REMEMBERED, found.expires_at)
        if len(self._known) >= 10_000:
            self._known.clear()
        self._known[digest] = (until, identity)
        return identity

    def _forget(self, id: str | None) -> None:
        """A token (None: any) was revoked."""
        self._known = {
            digest: known for digest, known in self._known.items() if id is not None and known[1].token != id
        }


def _checksum(body: str) -> str:
    value, text = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        text = BASE62[digit] + text
    return text
