"""A robot's proof of who it is: a compact EdDSA-signed JWT (RFC 7515, 8037) used as in RFC 7523, over a nonce of the server.

The nonce makes it single-use, so no clock of the robot is needed. Claims: `iss` robot, `aud` server, `nonce`, `boot`.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from lekiwi_deploy.errors import Unauthenticated
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import RobotId

_HEADER = {"alg": "EdDSA", "typ": "JWT"}
_MAX = 4096


class Claims(msgspec.Struct, frozen=True):
    """What a robot signs. `boot` is its kernel's boot id: two live links with different ones are a cloned key."""

    iss: RobotId
    aud: str
    nonce: str
    boot: str


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(claims: Claims, private_key: bytes) -> str:
    """The token for `claims`, signed with a 32-byte Ed25519 seed."""
    body = f"{_b64(encode(_HEADER))}.{_b64(encode(claims))}"
    return f"{body}.{_b64(SigningKey(private_key).sign(body.encode()).signature)}"


def read_unverified(token: str) -> Claims:
    """Who the token says it is from, to look up the key with. Raises `Unauthenticated` when it is no such token."""
    try:
        if len(token) > _MAX:
            raise ValueError("too long")
        header, payload, _ = token.split(".")
        if msgspec.json.decode(_unb64(header)) != _HEADER:
            raise ValueError("not an EdDSA JWT")
        return msgspec.json.decode(_unb64(payload), type=Claims)
    except (ValueError, binascii.Error, msgspec.MsgspecError, UnicodeError) as error:
        raise Unauthenticated("the robot's token is malformed") from error


def verify(token: str, public_key: bytes, *, server: str, nonce: str) -> Claims:
    """The claims, if `public_key` signed them for this server and nonce. Raises `Unauthenticated` otherwise."""
    claims = read_unverified(token)
    body, _, signature = token.rpartition(".")
    try:
        VerifyKey(public_key).verify(body.encode(), _unb64(signature))
    except (BadSignatureError, ValueError, binascii.Error) as error:
        raise Unauthenticated("the robot's token is not signed with its key") from error
    if claims.aud != server or claims.nonce != nonce:
        raise Unauthenticated("the robot's token is for another server or connection")
    return claims
