"""One build's place: its scratch folder, the project's cache, the tools, and the room that commands run in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from uv import find_uv_bin

from lekiwi_deploy.server.builds.pythons import Python
from lekiwi_deploy.server.builds.run import Ended, OnLines, run
from lekiwi_deploy.server.builds.sandbox import BUILD, Bind, Room, Walls

NETWORK_VARIABLES = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "SSL_CERT_FILE",
    "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT",
    "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
    "UV_HTTP_TIMEOUT", "UV_INDEX_STRATEGY", "NPM_CONFIG_REGISTRY", "npm_config_registry",
)  # fmt: skip
"""What the server's owner set to reach package indexes; given only to commands that may use the network."""

_TIMESTAMP = "315532800"
"""1980-01-01: what reproducible builds take for the time."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """`tree`: the project's files, that commands change; `cache`: kept from build to build of this project, of which commands see
    and may change `shared` only; `temporary`: gone afterwards. `python`: what `python3` means here. `mark`: names this build's
    processes."""

    room: Room
    tree: Path
    cache: Path
    shared: Path
    temporary: Path
    python: Python
    uv: Path
    mark: str

    @property
    def byte_code(self) -> Path:
        """Compiled sources of this project, by source."""
        return self.cache / "pyc"

    async def run(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        on_lines: OnLines,
        network: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        binds: tuple[Bind, ...] = (),
    ) -> Ended:
        """Runs `command` in the project's folder (or `cwd`), with `binds` beside what it sees anyway. Nothing of it is left when this returns."""
        own = dict(env or {})
        npmrc = Path.home() / ".npmrc"
        if network:
            own |= {name: os.environ[name] for name in NETWORK_VARIABLES if name in os.environ}
        if network and npmrc.is_file():  # how npm reaches its index here
            binds = (*binds, Bind(npmrc, "/etc/npmrc"))
            own["npm_config_userconfig"] = "/etc/npmrc" if self.room.walls.bwrap is not None else str(npmrc)
        where = cwd or self.tree
        room = replace(self.room, binds=(*self.room.binds, *binds))
        argv = room.argv(command, cwd=where, network=network, env=own)
        return await run(
            argv, cwd=where, env=self.room.process_env(own), timeout_s=timeout_s, on_lines=on_lines, mark=self.mark,
            contained=room.walls.bwrap is not None,
        )  # fmt: skip

    def inside(self, path: Path) -> str:
        """What `path` is called for the commands."""
        return self.room.inside(path)


def read_untrusted(path: Path, limit: int = 64 << 20) -> bytes:
    """What a command left in the file `path`, up to `limit` bytes; nothing when it is no plain file: a link could lead anywhere."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            return file.read(limit)
    except OSError:
        return b""


def open_workshop(*, walls: Walls, scratch: Path, cache: Path, python: Python, mark: str) -> Workshop:
    """A workshop over `scratch` (has `tree/`; the rest is made) and the project's `cache` folder."""
    tree, temporary = scratch / "tree", scratch / "tmp"
    home, tools, shared = temporary / "home", scratch / "tools", cache / "shared"
    for folder in (tree, home, tools, shared / "uv", shared / "npm"):
        folder.mkdir(parents=True, exist_ok=True)
    uv = Path(find_uv_bin())
    for name, target in (("python", python.path), ("python3", python.path), ("uv", uv)):
        with contextlib.suppress(FileExistsError):
            (tools / name).symlink_to(target)
    binds = [
        Bind(tree, BUILD, writable=True),
        Bind(shared, "/cache", writable=True),
        Bind(temporary, "/tmp", writable=True),
        Bind(tools, "/tools"),
        Bind(uv, str(uv)),
    ]
    if not python.prefix.is_relative_to("/usr"):
        binds.append(Bind(python.prefix, str(python.prefix)))
    room = Room(walls, tuple(binds), {})
    env = {
        "PATH": f"{room.inside(tools)}:{python.prefix}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": room.inside(home),
        "USER": "build",
        "LOGNAME": "build",
        "TMPDIR": room.inside(temporary),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "CI": "1",
        "SOURCE_DATE_EPOCH": _TIMESTAMP,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "UV_CACHE_DIR": room.inside(shared / "uv"),
        "UV_PYTHON": str(python.path),
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "npm_config_cache": room.inside(shared / "npm"),
        "npm_config_update_notifier": "false",
        "npm_config_fund": "false",
        "npm_config_audit": "false",
    }
    return Workshop(Room(walls, tuple(binds), env), tree, cache, shared, temporary, python, uv, mark)
