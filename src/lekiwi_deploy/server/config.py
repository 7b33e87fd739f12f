"""What the server was told on its command line and in `LEKIWI_*`, checked; pure parsing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Config:
    """`data` is DIR, absolute. `host` and `port` as asked for (port 0: any). `database_url` None: embedded PostgreSQL in DIR.
    `store`: "DIR" of a folder or `s3://`, `gs://`, `az://` with bucket and prefix; None: DIR/objects.

    `url` is how people and robots reach this server, without a slash at the end (`--url`, else the bound address); `local_url`
    how processes on this machine do, git's hooks for one. Both are filled in once the port is bound."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 8080
    database_url: str | None = None
    store: str | None = None
    url: str = ""
    local_url: str = ""
