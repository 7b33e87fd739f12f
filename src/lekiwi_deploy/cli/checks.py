"""What `lekiwi doctor` checks: each gives one `Check`, and none raises."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lekiwi_deploy import __version__
from lekiwi_deploy.cli import git
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.protocol import OLDEST_UNDERSTOOD, PROTOCOL

if TYPE_CHECKING:
    from lekiwi_deploy.cli.settings import Target

_SKEW_S = 30.0


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """`state` ok, warn or fail; `fix` what to do about it."""

    name: str
    state: str
    text: str
    fix: str = ""


def all_checks(run: Run) -> Iterator[Check]:
    """In the order in which one depends on the other."""
    yield Check(name="program", state="ok", text=f"lekiwi {__version__}, Python {platform.python_version()}")
    target = None
    try:
        target = run.target
    except LekiwiError as error:
        yield _failed("server", error)
    if target is not None:
        yield from _server(run, target)
    yield _git()
    yield from _folder(run)


def _server(run: Run, target: Target) -> Iterator[Check]:
    from lekiwi_deploy.wire.api import ServerInfo
    from lekiwi_deploy.wire.encoding import decode

    try:
        before = run.now()
        client = run.client(target, tries=1)
        answer = client.transport.exchange("GET", "/api/server")
        info: ServerInfo = decode(answer.data, ServerInfo, what="what /api/server answered")
    except LekiwiError as error:
        yield _failed("server", error)
        return
    took = (run.now() - before).total_seconds() * 1000
    yield Check(name="server", state="ok", text=f"{target.api} ({target.source}), {info.version}, {took:.0f} ms")
    if not OLDEST_UNDERSTOOD <= info.protocol <= PROTOCOL:
        older = "this program" if info.protocol > PROTOCOL else "the server"
        yield Check(
            name="protocol", state="warn", text=f"the server speaks {info.protocol}, this program {PROTOCOL}",
            fix=f"upgrade {older}",
        )  # fmt: skip
    yield _clock(answer.headers.get("date"), run.now())
    if target.token is None:
        yield Check(
            name="token", state="fail", text="you are not logged in", fix=f"lekiwi login {target.api} --token-stdin"
        )
        return
    try:
        identity = client.whoami()
    except LekiwiError as error:
        yield _failed("token", error)
        return
    left = (identity.expires_at - run.now()).days if identity.expires_at else None
    text = f"{identity.name} ({identity.role}){f', {left} days left' if left is not None else ''}"
    if left is not None and left < 7:
        yield Check(
            name="token", state="warn", text=text, fix=f"lekiwi tokens create {identity.name}, and log in with it"
        )
    else:
        yield Check(name="token", state="ok", text=text)


def _clock(date: str | None, now: datetime) -> Check:
    try:
        skew = (now - parsedate_to_datetime(date or "")).total_seconds()
    except ValueError:
        return Check(name="clock", state="warn", text="the server did not say what time it is")
    if abs(skew) > _SKEW_S:
        way = "ahead of" if skew > 0 else "behind"
        return Check(
            name="clock", state="warn", text=f"this machine's clock is {abs(skew):.0f} s {way} the server's",
            fix="set the clock (timedatectl set-ntp true)",
        )  # fmt: skip
    return Check(name="clock", state="ok", text="agrees with the server's")


def _git() -> Check:
    if shutil.which("git") is None:
        return Check(name="git", state="warn", text="git is not installed: `lekiwi deploy` works, `git push` does not")
    ran = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False)
    return Check(name="git", state="ok", text=ran.stdout.strip().removeprefix("git version "))


def _folder(run: Run) -> Iterator[Check]:
    here = Path.cwd()
    try:
        linked = run.linked
    except LekiwiError as error:
        yield _failed("link", error)
        return
    if linked is None:
        yield Check(
            name="link", state="warn", text=f"{here.name or here} is not linked to a project", fix="lekiwi link"
        )
        return
    link = linked.link
    text = link.project + (f", {link.environment}" if link.environment else "")
    yield Check(name="link", state="ok", text=f"{text} on {link.api or 'the default server'}")
    top = git.top(here)
    if top is not None and link.api:
        wanted = f"{link.api}/git/{link.project}.git"
        remotes = {name: git.remote_url(top, name) for name in (git.ask(top, "remote") or "").split()}
        found = next((name for name, url in remotes.items() if url == wanted), None)
        helper = git.ask(top, "config", "--get-all", f"credential.{link.api}.helper")
        if found is None:
            yield Check(name="remote", state="warn", text=f"no git remote points to {wanted}", fix="lekiwi link")
        elif not helper:
            yield Check(name="remote", state="warn", text=f"{found}: git will ask for the token", fix="lekiwi link")
        else:
            yield Check(name="remote", state="ok", text=f"{found}: git push {found} deploys")
    if (linked.folder / "lekiwi.yaml").is_file():
        yield Check(name="lekiwi.yaml", state="ok", text="there is one")
    else:
        yield Check(name="lekiwi.yaml", state="ok", text="none: everything is detected (lekiwi init writes one)")
    if not os.access(linked.folder, os.W_OK):
        yield Check(name="folder", state="warn", text=f"{linked.folder} is not writable for you")


def _failed(name: str, error: LekiwiError) -> Check:
    fixes = [command for command in error.next if command != "lekiwi doctor"]
    return Check(name=name, state="fail", text=error.message, fix=fixes[0] if fixes else "")
