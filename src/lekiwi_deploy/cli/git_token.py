"""What git asks when the server wants a token (see `git help credential`). Loaded without click: git waits for it.

`lekiwi link` names it in the repository's configuration, for the server's address only. So the token stands in no URL, no
configuration and no process list.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.errors import LekiwiError


def answer(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Reads git's question on stdin, answers on stdout. Knowing nothing is no failure: git then asks the next one."""
    output = Output()
    action = next((argument for argument in arguments if not argument.startswith("-")), "")
    if action not in ("get", "erase"):
        return 0
    asked = dict(line.rstrip("\n").partition("=")[::2] for line in sys.stdin)
    if action == "erase":
        url = f"{asked.get('protocol')}://{asked.get('host')}"
        output.warn(f"the server refused the token: lekiwi login {url} --token-stdin")
        return 0
    try:
        token = token_for(asked, environ, insecure_http="--insecure-http" in arguments)
    except LekiwiError as error:
        output.error(error)
        return 0
    if token is not None:
        output.raw(f"username=lekiwi\npassword={token}\n")
    return 0


def token_for(asked: Mapping[str, str], environ: Mapping[str, str], *, insecure_http: bool) -> str | None:
    """The token for the server that git talks to (`protocol`, `host`), None when there is none for it.

    LEKIWI_TOKEN serves for the server that LEKIWI_API names, or one that the person is logged in to. Raises `NotAllowed` for
    plain HTTP across a network.
    """
    from lekiwi_deploy.cli.settings import Profiles, checked_token
    from lekiwi_deploy.client.address import check_plain_http, checked_address

    if asked.get("protocol") not in ("http", "https") or not asked.get("host"):
        return None
    origin = checked_address(f"{asked['protocol']}://{asked['host']}")

    def here(api: str) -> bool:
        return api == origin or api.startswith(origin + "/")

    profiles = Profiles.of(environ)
    stored = next((p for p in map(profiles.read, profiles.names()) if p is not None and here(p.api)), None)
    named = environ.get("LEKIWI_API")
    given = environ.get("LEKIWI_TOKEN")
    if given and (here(checked_address(named)) if named else stored is not None):
        token = checked_token(given)
    elif stored is not None:
        token = stored.token
    else:
        return None
    check_plain_http(origin, insecure_http=insecure_http or (stored is not None and stored.insecure_http))
    return token
