"""What the robot knows of itself: agent.json, its key, its own variables."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

import msgspec

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.content.durable import sync_path, write_durably
from lekiwi_deploy.errors import Conflict, Failed, NotFound
from lekiwi_deploy.robot.holds import LONGEST_S
from lekiwi_deploy.wire.encoding import decode, encode
from lekiwi_deploy.wire.ids import EnvironmentName, ProjectName, RobotId

FEWEST_DEPLOYMENTS = 2
"""The live one and one to go back to."""


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """agent.json. `server`: URL; `server_id`: the lasting id that the robot signs for. `port_offset` is added to every
    service's port, so that many robots fit on one machine. `max_deployments`: how many this robot retains; None: as many as
    the server says, 100. `longest_hold_s`: the longest time for which somebody on the robot may say "not now" at once (they may renew)."""

    server: str
    server_id: str
    robot: RobotId
    project: ProjectName
    environment: EnvironmentName
    port_offset: int = 0
    max_deployments: Annotated[int, msgspec.Meta(ge=FEWEST_DEPLOYMENTS)] | None = None
    insecure_http: bool = False
    longest_hold_s: Annotated[float, msgspec.Meta(gt=0)] = LONGEST_S


def read_config(paths: Paths) -> AgentConfig:
    """Raises `NotFound` for a root that never joined."""
    try:
        data = paths.config.read_bytes()
    except FileNotFoundError:
        root = "" if paths.root == Path("/") else f" --root {paths.root}"
        raise NotFound(
            f"this robot never joined a server (there is no {paths.config})",
            next=("lekiwi robots add NAME --group GROUP", f"lekiwi-agent join URL --token TOKEN{root}"),
        ) from None
    except PermissionError:
        raise Failed(f"{paths.config} may not be read by this user") from None
    return decode(data, AgentConfig, what=str(paths.config))


def write_config(paths: Paths, config: AgentConfig) -> None:
    """Durably."""
    paths.config.parent.mkdir(parents=True, exist_ok=True)
    write_durably(paths.config, msgspec.json.format(encode(config)) + b"\n", mode=0o644)


def read_key(paths: Paths) -> bytes:
    """The robot's 32-byte Ed25519 seed. Raises `Failed` when it is missing, malformed or readable by others."""
    try:
        mode = paths.key.stat().st_mode
        text = paths.key.read_text()
    except FileNotFoundError:
        raise Failed(f"the robot's key is missing ({paths.key}): remove the robot and join again") from None
    except PermissionError:
        raise Failed(f"the robot's key {paths.key} may not be read by this user") from None
    if mode & 0o077:
        raise Conflict(f"{paths.key} can be read by others", next=(f"chmod 600 {paths.key}",))
    try:
        seed = bytes.fromhex(text.strip())
    except ValueError:
        seed = b""
    if len(seed) != 32:
        raise Failed(f"{paths.key} holds no key: remove the robot and join again")
    return seed


def write_key(paths: Paths, seed: bytes, *, owner: tuple[int, int] | None = None) -> None:
    """Durably, readable by its owner only from the first moment. `owner`: its user and group ids; None: whoever calls."""
    _write_secret(paths.key, seed, owner)


def write_update_key(paths: Paths, key: bytes) -> None:
    """As `write_key`, for whoever calls. Empty: the server proves nothing, and a key of an earlier one goes."""
    if key:
        _write_secret(paths.update_key, key, None)
    else:
        paths.update_key.unlink(missing_ok=True)


def read_update_key(paths: Paths) -> bytes | None:
    """None: this robot joined a server that gave it none."""
    try:
        return bytes.fromhex(paths.update_key.read_text().strip()) or None
    except (OSError, ValueError):
        return None


def _write_secret(path: Path, secret: bytes, owner: tuple[int, int] | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(secret.hex().encode() + b"\n")
        file.flush()
        if owner is not None:
            os.fchown(file.fileno(), *owner)
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_path(path.parent)


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def read_variables(paths: Paths) -> tuple[dict[str, str], tuple[str, ...]]:
    """The robot's own variables out of robot.env, and what was wrong with lines that were skipped.

    KEY=VALUE lines; blank lines and those beginning with # are ignored, one pair of quotes around a value is taken off.
    """
    try:
        text = paths.variables.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return {}, ()
    except OSError as error:
        return {}, (f"{paths.variables}: {error.strerror}",)
    values: dict[str, str] = {}
    wrong = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not _NAME.match(name) or "\0" in value:
            wrong.append(f"{paths.variables}:{number}: not KEY=VALUE")
            continue
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name] = value
    return values, tuple(wrong)
