"""Which proxy the environment asks for."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from lekiwi_deploy.client.address import is_loopback


def proxy_for(address: str, environ: Mapping[str, str]) -> str | None:
    """The proxy's URL out of HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY (either case), None for none.

    Loopback is never sent to a proxy.
    """
    parts = urlsplit(address)
    host = (parts.hostname or "").lower()
    if is_loopback(host):
        return None

    def read(name: str) -> str:
        return environ.get(name.lower()) or environ.get(name.upper()) or ""

    for entry in read("no_proxy").split(","):
        entry = entry.strip().lower().lstrip(".")
        if entry == "*" or (entry and (host == entry.split(":")[0] or host.endswith("." + entry.split(":")[0]))):
            return None
    proxy = read(f"{parts.scheme}_proxy") or read("all_proxy")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
