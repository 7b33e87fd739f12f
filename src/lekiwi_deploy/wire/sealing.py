"""Variables sealed to one robot: what `SealedVariables.sealed` holds. Whoever has the robot's public key can seal, only the robot can open.

A NaCl sealed box for the robot's Ed25519 key as a Curve25519 key, over the msgpack map name -> value; base64. The same values never give
the same text twice.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec
from nacl.exceptions import CryptoError
from nacl.public import SealedBox
from nacl.signing import SigningKey, VerifyKey

from lekiwi_deploy.errors import BadInput


def seal(values: Mapping[str, str], public_key: bytes) -> str:
    """`values` for the robot with this 32-byte Ed25519 public key."""
    box = SealedBox(VerifyKey(public_key).to_curve25519_public_key())
    return base64.b64encode(box.encrypt(msgspec.msgpack.encode(dict(values)))).decode()


def unseal(sealed: str, seed: bytes) -> dict[str, str]:
    """The values, with the robot's 32-byte Ed25519 seed. Raises `BadInput`, which says nothing of what is inside."""
    try:
        box = SealedBox(SigningKey(seed).to_curve25519_private_key())
        return msgspec.msgpack.decode(box.decrypt(base64.b64decode(sealed, validate=True)), type=dict[str, str])
    except CryptoError:
        raise BadInput("they are damaged, or sealed for another key than this robot's") from None
    except (binascii.Error, ValueError, TypeError, msgspec.MsgspecError):
        raise BadInput("they are damaged") from None
