"""Bytes <-> structs, with errors that a person can act on."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from lekiwi_deploy.errors import BadInput

T = TypeVar("T")

_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode(value: object) -> bytes:
    """`value` as JSON, deterministically: same value, same bytes."""
    return _ENCODER.encode(value)


def decode(data: bytes | str, kind: type[T] | Any, *, what: str) -> T:
    """`data` as a value of type `kind`; `what` names it in the error.

    Raises `BadInput` with the place of the first thing that is wrong.
    """
    try:
        value: T = msgspec.json.decode(data, type=kind)
        return value
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{what} is not valid: {error}") from error
