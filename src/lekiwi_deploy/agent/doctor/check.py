"""What a check finds."""

from __future__ import annotations

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """`state` ok, warn or fail; `fix` what to do about it."""

    name: str
    state: str
    text: str
    fix: str = ""


def ok(name: str, text: str) -> Check:
    return Check(name=name, state="ok", text=text)


def warn(name: str, text: str, fix: str = "") -> Check:
    return Check(name=name, state="warn", text=text, fix=fix)


def fail(name: str, text: str, fix: str = "") -> Check:
    return Check(name=name, state="fail", text=text, fix=fix)
