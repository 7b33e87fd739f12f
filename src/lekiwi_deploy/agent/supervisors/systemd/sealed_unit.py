"""What a boot set has of a unit whose variables the server gave: sealed as they came, and opened at boot.

`lekiwi-variables.service` does it, by `lekiwi-agent open-variables`, only where there are any; a unit whose variables cannot be opened has no
file of variables then, and systemd does not start it.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from lekiwi_deploy.agent.config import read_key
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.supervisors.systemd.places import Places
from lekiwi_deploy.agent.supervisors.systemd.quoting import environment_file
from lekiwi_deploy.errors import BadInput, Failed, LekiwiError
from lekiwi_deploy.wire.variables import SealedVariables


class SealedUnit(msgspec.Struct, frozen=True):
    """`names`: those of `given` that it declares. `given` None: it came damaged. `plain`: the text of its other variables."""

    given: SealedVariables | None
    names: tuple[str, ...]
    plain: str = ""


def open_variables(paths: Paths, said: Callable[[str], None]) -> int:
    """Write the variables of every unit of the boot set to /run; how many could not be opened, of which each is `said`."""
    places = Places(paths.root)
    folder = places.environments
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    failed = 0
    opened: dict[str, dict[str, str]] = {}
    for path in sorted(places.boot_sealed.glob("lekiwi-*.service")):
        try:
            unit = msgspec.json.decode(path.read_bytes(), type=SealedUnit)
            text = unit.plain + environment_file(_values(paths, unit, opened))
            _write(str(places.environment(path.name)), text.encode())
        except (LekiwiError, OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            failed += 1
            why = error.message if isinstance(error, LekiwiError) else "its file is damaged or cannot be written"
            said(f"{path.name} is not started before the agent is there: its variables cannot be opened: {why}")
    return failed


def _values(paths: Paths, unit: SealedUnit, opened: dict[str, dict[str, str]]) -> dict[str, str]:
    from lekiwi_deploy.wire.sealing import unseal

    if unit.given is None:
        raise Failed("they came damaged")
    if unit.given.sealed not in opened:
        opened[unit.given.sealed] = unseal(unit.given.sealed, read_key(paths))
    values = opened[unit.given.sealed]
    missing = [name for name in unit.names if name not in values]
    if missing:
        raise BadInput(f"there is no {missing[0]} among them")
    return {name: values[name] for name in unit.names}


def _write(path: str, data: bytes) -> None:
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    os.replace(f"{path}.new", path)  # noqa: PTH105
