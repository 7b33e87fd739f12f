"""Network for a command that root runs: done by a child that has become the net half's user before it opens a connection."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from typing import TypeVar

from lekiwi_deploy.agent.net.choose import NET_USER
from lekiwi_deploy.client import faults
from lekiwi_deploy.errors import Failed, LekiwiError
from lekiwi_deploy.wire.api import ErrorBody
from lekiwi_deploy.wire.encoding import decode, encode

T = TypeVar("T")


def net_account() -> pwd.struct_passwd | None:
    """The net half's user; None when this process is not root's, or there is no such user: then it does everything itself."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(NET_USER)
    except KeyError:
        return None


def as_net_user(account: pwd.struct_passwd | None, call: Callable[[], T], kind: type[T]) -> T:
    """What `call` gives, a wire struct of `kind`, or raises of `LekiwiError`; called as `account` in a child process. Call it from
    programs with one thread only."""
    if account is None:
        return call()
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            os.setgroups([])
            os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
            os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
            with os.fdopen(writer, "wb") as out:
                try:
                    out.write(b"+" + encode(call()))
                except LekiwiError as error:
                    body = ErrorBody(
                        code=error.code, message=error.message, next=error.next, details=dict(error.details)
                    )
                    out.write(b"-" + encode(body))
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        data = said.read()
    os.waitpid(child, 0)
    if data.startswith(b"+"):
        return decode(data[1:], kind, what="what the network half said")
    if data.startswith(b"-"):
        raise faults.from_body(decode(data[1:], ErrorBody, what="what the network half said"))
    raise Failed(f"the part of this command that runs as {account.pw_name} died")
