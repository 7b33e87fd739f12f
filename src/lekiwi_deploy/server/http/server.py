"""What this server is, and who asks."""

from __future__ import annotations

from litestar import get

from lekiwi_deploy import __version__
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.wire.api import Identity, ServerInfo
from lekiwi_deploy.wire.protocol import PROTOCOL


@get("/api/server", public=True)
async def show_server(context: Context) -> ServerInfo:
    """Identity and version of this server; needs no token."""
    return ServerInfo(server=context.server_id, version=__version__, protocol=PROTOCOL)


@get("/api/whoami")
async def show_identity(identity: Identity) -> Identity:
    """Whose token this is, and what it may do."""
    return identity


handlers = [show_server, show_identity]
