"""Where a person's tokens live, and which server and token one invocation uses.

A token is kept in a file of mode 0600 and is sent only to the server that it was stored for, or that the person named; an
address that merely stands in a checked-out folder (`.lekiwi/project.json`) never gets a token from the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lekiwi_deploy.client.address import checked_address
from lekiwi_deploy.errors import BadInput, Failed, NotAllowed, NotFound, Unauthenticated
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import checked_name

DEFAULT_PROFILE = "default"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A server and the token for it. `name`: who the server said that is."""

    api: str
    token: str
    name: str = ""
    insecure_http: bool = False


@dataclass(frozen=True)
class Target:
    """What a request needs. `source`: where the address comes from, for messages."""

    api: str
    token: str | None
    insecure_http: bool
    source: str


class Profiles:
    """The profiles of one person, a file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Profiles:
        """Those in XDG_CONFIG_HOME, or `~/.config`."""
        base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
        return cls(Path(base) / "lekiwi" / "profiles")

    def read(self, name: str) -> Profile | None:
        """The profile of that name. Raises `Failed` when its file is damaged."""
        path = self._path(name)
        try:
            return msgspec.json.decode(path.read_bytes(), type=Profile)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Failed(f"{path} cannot be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise Failed(
                f"{path} is damaged ({error}): remove it and log in again",
                next=(f"rm {path}", "lekiwi login URL --token-stdin"),
            ) from error

    def names(self) -> tuple[str, ...]:
        """By name, the default one first."""
        found = sorted(path.stem for path in self.folder.glob("*.json")) if self.folder.is_dir() else []
        return tuple(sorted(found, key=lambda name: (name != DEFAULT_PROFILE, name)))

    def for_server(self, api: str) -> tuple[str, Profile] | None:
        """The first profile whose server is `api`."""
        for name in self.names():
            profile = self.read(name)
            if profile is not None and profile.api == api:
                return name, profile
        return None

    def write(self, name: str, profile: Profile) -> Path:
        """Keeps it, readable by its owner only, whole or not at all."""
        path = self._path(name)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.unlink(missing_ok=True)
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(encode(profile))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            raise Failed(f"{path} cannot be written: {error.strerror}") from error
        return path

    def remove(self, name: str) -> bool:
        """Whether there was one."""
        try:
            self._path(name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _path(self, name: str) -> Path:
        return self.folder / f"{checked_name('a profile', name)}.json"


def choose(
    profiles: Profiles,
    environ: Mapping[str, str],
    *,
    api: str | None,
    profile: str | None,
    token_file: str | None,
    link_api: str | None,
    insecure_http: bool,
) -> Target:
    """Server: `--api`, LEKIWI_API, the named profile's, the link's, the default profile's. Token: `--token-file`,
    LEKIWI_TOKEN, the profile of that server. Raises `Unauthenticated` when no server is known."""
    wanted = profile or environ.get("LEKIWI_PROFILE") or None
    named = profiles.read(wanted) if wanted else None
    if wanted and named is None:
        raise NotFound(
            f"there is no profile {wanted!r}"
            + (f"; there is {', '.join(profiles.names())}" if profiles.names() else ""),
            next=(f"lekiwi login URL --token-stdin --profile {wanted}",),
        )
    if api:
        address, source = checked_address(api), "--api"
    elif environ.get("LEKIWI_API"):
        address, source = checked_address(environ["LEKIWI_API"]), "LEKIWI_API"
    elif named is not None:
        address, source = named.api, f"profile {wanted}"
    elif link_api:
        address, source = checked_address(link_api), "link"
    elif (default := profiles.read(DEFAULT_PROFILE)) is not None:
        named, address, source = default, default.api, f"profile {DEFAULT_PROFILE}"
    else:
        raise Unauthenticated("you are not logged in to any server", next=("lekiwi login URL --token-stdin",))
    stored = named if named is not None and named.api == address else None
    if stored is None and (found := profiles.for_server(address)):
        stored = found[1]
    given = read_token_file(token_file) if token_file else environ.get("LEKIWI_TOKEN") or None
    if given and source == "link" and stored is None:
        raise NotAllowed(
            f"the server {address} is named only by this folder's .lekiwi/project.json, and you are not logged in to it: "
            "your token is not sent there",
            next=(f"LEKIWI_API={address} lekiwi …, if that server is yours",),
        )
    return Target(
        address,
        checked_token(given) if given else stored.token if stored else None,
        insecure_http or (stored is not None and stored.insecure_http),
        source,
    )


def require_token(target: Target) -> Target:
    """`target`, if it has a token. Raises `Unauthenticated`."""
    if target.token is None:
        raise Unauthenticated(
            f"you are not logged in to {target.api}", next=(f"lekiwi login {target.api} --token-stdin",)
        )
    return target


def checked_token(text: str) -> str:
    """The token in `text`, without the space around it. Raises `BadInput` when it cannot be one; never repeats it."""
    token = text.strip()
    if not token or len(token) > 200 or not token.isascii() or any(c.isspace() or not c.isprintable() for c in token):
        raise BadInput("that is no token: one is a single word that begins with lkd_")
    if not token.startswith("lkd_"):
        raise BadInput("that is no token of LeKiwi Deploy: one begins with lkd_")
    return token


def read_token_file(path: str) -> str:
    """The first line of the file. Raises `BadInput`."""
    try:
        with Path(path).open(errors="replace") as file:
            return checked_token(file.readline(1000))
    except OSError as error:
        raise BadInput(f"the token file {path} cannot be read: {error.strerror}") from error
