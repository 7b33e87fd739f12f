"""Joining a server: the key is made here and never leaves; the server gets its public half with a single-use token.

Where the agent has two halves, root asks nothing over the network (`net/as_net_user.py`), and the key belongs to the net half's user.
"""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

from nacl.signing import SigningKey

from lekiwi_deploy import __version__
from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.config import (
    FEWEST_DEPLOYMENTS,
    AgentConfig,
    read_config,
    write_config,
    write_key,
    write_update_key,
)
from lekiwi_deploy.agent.journal import Journal, JournalCorrupt
from lekiwi_deploy.agent.lock import agent_lock
from lekiwi_deploy.agent.net.as_net_user import as_net_user, net_account
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.client.transport import Transport
from lekiwi_deploy.errors import BadInput, Conflict, LekiwiError, NotFound, Unauthenticated
from lekiwi_deploy.robot.holds import LONGEST_S
from lekiwi_deploy.robot.wanted import joined_anew
from lekiwi_deploy.wire.api import Joined, JoinRequest


def join(
    paths: Paths,
    url: str,
    token: str,
    *,
    port_offset: int = 0,
    max_deployments: int | None = None,
    insecure_http: bool = False,
    again: bool = False,
) -> AgentConfig:
    """Make this root a robot of the server at `url`. `again`: although it is one already.

    Raises what the server says (a used or expired token: `Unauthenticated`), `NotAllowed` for plain HTTP across a network,
    `Conflict` when it joined before or an agent runs here. Nothing on the robot has changed then.
    """
    if not 0 <= port_offset <= 60_000:
        raise BadInput(f"--port-offset {port_offset}: 0 to 60000 is possible")
    if max_deployments is not None and max_deployments < FEWEST_DEPLOYMENTS:
        raise BadInput(
            f"--max-deployments {max_deployments}: at least {FEWEST_DEPLOYMENTS}, one to run and one to go back to"
        )
    transport = Transport(url, insecure_http=insecure_http)
    account = net_account() if paths.root == Path("/") else None
    with agent_lock(paths):
        try:
            known = read_config(paths)
        except NotFound:
            known = None
        if known is not None and not again:
            raise Conflict(
                f"this robot is {known.robot} of {known.server} already",
                next=(f"lekiwi-agent join {url} --token TOKEN --again",),
            )
        paths.make()
        seed = os.urandom(32)
        public = base64.b64encode(bytes(SigningKey(seed).verify_key)).decode()
        request = JoinRequest(
            token=token.strip(),
            public_key=public,
            hostname=machine.hostname(),
            agent=__version__,
            platform=machine.platform(),
        )
        try:
            joined = as_net_user(account, lambda: transport.call("POST", "/api/join", Joined, body=request), Joined)
        except LekiwiError as error:
            if isinstance(error, (Unauthenticated, NotFound, Conflict)):
                raise type(error)(
                    error.message,
                    next=error.next or ("lekiwi robots add NAME --group GROUP   # prints a new line to run here",),
                    details=error.details,
                ) from error
            raise
        _forget_the_server_before(paths)
        config = AgentConfig(
            server=transport.address,
            server_id=joined.server,
            robot=joined.robot,
            project=joined.project,
            environment=joined.environment,
            port_offset=port_offset,
            max_deployments=max_deployments,
            insecure_http=insecure_http,
            longest_hold_s=known.longest_hold_s if known is not None else LONGEST_S,
        )
        write_key(paths, seed, owner=(account.pw_uid, account.pw_gid) if account is not None else None)
        write_update_key(paths, _hex(joined.update_key))
        write_config(paths, config)
        return config


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _forget_the_server_before(paths: Paths) -> None:
    """Generations and sequence numbers begin anew with a new identity. What runs stays."""
    shutil.rmtree(paths.spool, ignore_errors=True)
    paths.spool.mkdir(parents=True, exist_ok=True)
    journal = Journal(paths.journal)
    try:
        ledger = journal.load()
    except JournalCorrupt:
        return  # `run` recovers it, and says so
    if ledger is not None:
        journal.save(joined_anew(ledger))
