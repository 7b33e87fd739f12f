"""Enrolment: a machine shows its token, once, and its public key is the robot's from then on."""

from __future__ import annotations

import base64
import binascii

from litestar import post
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey

from lekiwi_deploy.errors import BadInput, LekiwiError, NotAllowed, Unauthenticated
from lekiwi_deploy.server.auth import checked_token, token_digest
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import audit, join_tokens, robots
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.agent_proof import update_key
from lekiwi_deploy.wire.api import Joined, JoinRequest

_LONGEST = 255


@post("/api/join", public=True, status_code=200)
async def join(context: Context, data: JoinRequest) -> Joined:
    """Uses the token up and registers the key, in one transaction: of two at once, one is refused."""
    token = checked_token(data.token, "enr")
    key = _public_key(data.public_key)
    if max(len(data.hostname), len(data.agent), *(len(part) for part in _parts(data))) > _LONGEST:
        raise BadInput(f"hostname, agent and platform may have at most {_LONGEST} characters each")
    now = context.now()
    async with context.database.transaction() as tx:
        robot = await join_tokens.use(tx, token_digest(token), now)
        if robot is None:
            raise await _why_not(tx, context, token_digest(token))
        row = await robots.join(
            tx, robot, public_key=key, hostname=data.hostname, agent=data.agent, platform=data.platform, now=now
        )
        if row is None:
            raise Unauthenticated(f"robot {robot!r} was removed after this join line was made")
        where = f"project/{row.project}/{row.environment}/{robot}"
        detail = {"hostname": data.hostname, "platform": data.platform.key}
        await audit.record(tx, f"robot/{robot}", "robot.join", where, detail)
    return Joined(
        robot=robot,
        project=row.project,
        environment=row.environment,
        server=context.server_id,
        update_key=update_key(context.ticket_key, robot, key).hex(),
    )


async def _why_not(tx: Transaction, context: Context, digest: bytes) -> LekiwiError:
    found = await join_tokens.read(tx, digest)
    if found is None:
        return Unauthenticated(
            "this join token is not known here: the line is from another server, or a newer one was made",
            next=("lekiwi robots rejoin NAME",),
        )
    again = (f"lekiwi robots rejoin {found.robot}",)
    if found.used_at is not None:
        return NotAllowed(
            f"this join token was used already, at {found.used_at:%H:%M:%S} UTC; it works once", next=again
        )
    return NotAllowed(
        f"this join token expired at {found.expires_at:%H:%M:%S} UTC; it works for 15 minutes", next=again
    )


def _public_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
        if len(key) != 32:
            raise ValueError(f"{len(key)} bytes")
        VerifyKey(key)
    except (ValueError, binascii.Error, CryptoError) as error:
        raise BadInput("public_key must be 32 bytes of an Ed25519 key in base64") from error
    return key


def _parts(data: JoinRequest) -> tuple[str, ...]:
    platform = data.platform
    return platform.system, platform.arch, platform.libc, platform.libc_version, platform.python


handlers = [join]
