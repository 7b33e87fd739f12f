"""What the server was told on its command line and in `LEKIWI_*`, checked; pure parsing."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lekiwi_deploy.errors import BadInput

DEFAULT_PORT = 8080
STORE_SCHEMES = ("s3", "gs", "az")


@dataclass(frozen=True, slots=True)
class Config:
    """`data` is DIR, absolute. `host` and `port` as asked for (port 0: any). `database_url` None: embedded PostgreSQL in DIR.
    `store`: "DIR" of a folder or `s3://`, `gs://`, `az://` with bucket and prefix; None: DIR/objects.

    `url` is how people and robots reach this server, without a slash at the end (`--url`, else the bound address); `local_url`
    how processes on this machine do, git's hooks for one. Both are filled in once the port is bound.

    `variables_key`: the file of the key that variables are sealed with, None: DIR/variables-key; `new_variables_key`: make another one, and
    forget what the lost one sealed; `rotate_variables_key`: make another one, and seal everything with it.

    `log_days`: how long log lines are kept. `verbose`: log what is going on, not only what is wrong."""

    data: Path
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    database_url: str | None = None
    store: str | None = None
    url: str = ""
    local_url: str = ""
    log_days: int = 30
    verbose: bool = False
    variables_key: Path | None = None
    new_variables_key: bool = False
    rotate_variables_key: bool = False


def parse(arguments: Sequence[str], environ: Mapping[str, str], *, root: bool, home: Path, cwd: Path) -> Config:
    """The configuration out of the command line and, where an option is not given, out of the environment.

    Exits with 2 and a usage line for unknown options, with 0 for `--help`. Raises `BadInput` for values that cannot work.
    """
    given = _parser(default_data(environ, root=root, home=home)).parse_args(list(arguments))
    data = given.data or environ.get("LEKIWI_DATA") or default_data(environ, root=root, home=home)
    port = _whole("--port", given.port or environ.get("LEKIWI_PORT") or str(DEFAULT_PORT), 0, 65535)
    key = given.variables_key or environ.get("LEKIWI_VARIABLES_KEY_FILE")
    return Config(
        data=_absolute(data, cwd, home),
        host=given.host or environ.get("LEKIWI_HOST") or "127.0.0.1",
        port=port,
        database_url=_database(given.database_url or environ.get("LEKIWI_DATABASE_URL")),
        store=_store(given.store or environ.get("LEKIWI_STORE"), cwd, home),
        url=_url(given.url or environ.get("LEKIWI_URL") or ""),
        log_days=_whole("--log-days", given.log_days or environ.get("LEKIWI_LOG_DAYS") or "30", 1, 3650),
        verbose=given.verbose,
        variables_key=_absolute(key, cwd, home) if key else None,
        new_variables_key=given.new_variables_key,
        rotate_variables_key=given.rotate_variables_key,
    )


def default_data(environ: Mapping[str, str], *, root: bool, home: Path) -> str:
    """Where the server keeps everything when it is not told."""
    if root:
        return "/var/lib/lekiwi"
    return str(Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "lekiwi-server")


def _parser(data: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lekiwi server",
        description="Run the control plane: API, git remote, builds, robots' links. One process, one port.",
        epilog="Each option can also be set as LEKIWI_DATA, LEKIWI_PORT, …: do so with a database URL that holds a password.",
    )
    parser.add_argument("--data", metavar="DIR", help=f"where everything is kept (default: {data})")
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1; 0.0.0.0 for all)")
    parser.add_argument("--port", metavar="PORT", help=f"port to listen on, 0 for any (default: {DEFAULT_PORT})")
    parser.add_argument("--url", metavar="URL", help="how robots and people reach this server, behind a proxy for one")
    parser.add_argument("--database-url", metavar="URL", help="PostgreSQL to use (default: one of its own, inside DIR)")
    parser.add_argument(
        "--store", metavar="DIR|s3://…", help="folder, s3://, gs:// or az:// bucket for content (default: DIR/objects)"
    )
    parser.add_argument("--log-days", metavar="DAYS", help="how long log lines are kept (default: 30)")
    parser.add_argument(
        "--variables-key",
        metavar="FILE",
        help="key that variables are sealed with, the same for all servers of a database (default: DIR/variables-key; "
        "environment: LEKIWI_VARIABLES_KEY_FILE)",
    )
    parser.add_argument(
        "--rotate-variables-key",
        action="store_true",
        help="make another key and seal all variables with it; no other server of the database may run meanwhile",
    )
    parser.add_argument(
        "--new-variables-key",
        action="store_true",
        help="the key is lost: make another one and forget all variables' values; robots keep what they have",
    )
    parser.add_argument("--verbose", action="store_true", help="log what is going on, not only what is wrong")
    return parser


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise BadInput(f"{name} must be a whole number from {least} to {most}, not {text[:40]!r}")
    return int(text)


def _absolute(text: str, cwd: Path, home: Path) -> Path:
    if "\0" in text:
        raise BadInput(f"{text[:40]!r} cannot be a path")
    if text == "~" or text.startswith("~/"):
        return home / text[2:]
    return cwd / text


def _database(text: str | None) -> str | None:
    if text is None:
        return None
    if not text.startswith(("postgresql://", "postgres://")):
        raise BadInput("--database-url must look like postgresql://user:password@host/database")
    return text


def _store(text: str | None, cwd: Path, home: Path) -> str | None:
    if text is None:
        return None
    scheme, separator, rest = text.partition("://")
    if not separator:
        return str(_absolute(text, cwd, home))
    if scheme not in STORE_SCHEMES:
        raise BadInput(
            f"--store {scheme}:// is not known: use a folder, or {', '.join(f'{known}://' for known in STORE_SCHEMES)}"
        )
    bucket = rest.partition("/")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,250}", bucket):
        raise BadInput(f"--store {scheme}://… needs a bucket, {bucket[:40]!r} is none: {scheme}://bucket/prefix")
    return text.rstrip("/")


def _url(text: str) -> str:
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise BadInput("--url must look like https://deploy.example.org: no user, no password, no query")
    return text.rstrip("/")
