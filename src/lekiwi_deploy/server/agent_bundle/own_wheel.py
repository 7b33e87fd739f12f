"""The wheel of lekiwi-deploy for robots, rebuilt from the package that this server runs.

It is made from the files that lie in the installed package, so an editable checkout and an installed wheel of the same sources give
the same bytes. What only a server needs is left out.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import lekiwi_deploy
from lekiwi_deploy import __version__
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.agent_bundle.archive import Member, archive

DISTRIBUTION = "lekiwi-deploy"
FILE_NAME = f"lekiwi_deploy-{__version__}-py3-none-any.whl"
_LEFT_OUT = ("server", "testing")
_INFO = f"lekiwi_deploy-{__version__}.dist-info"


def requirements() -> tuple[str, ...]:
    """What the agent depends on, sorted: `msgspec>=0.19`. Raises `Failed` when this program runs without being installed."""
    try:
        listed = distribution(DISTRIBUTION).requires or []
    except PackageNotFoundError:
        raise Failed(
            "this server runs from a folder without being installed: robots cannot be given its agent"
        ) from None
    return tuple(
        sorted(line for line in listed if "extra ==" not in line.replace("'", '"').replace("extra==", "extra =="))
    )


def own_wheel() -> bytes:
    """The wheel's bytes; the same for the same sources, wherever and whenever it is made."""
    package = Path(lekiwi_deploy.__file__).parent
    members = [
        Member(f"lekiwi_deploy/{path.relative_to(package).as_posix()}", path.read_bytes())
        for path in sorted(package.rglob("*"))
        if path.is_file() and _belongs(path.relative_to(package))
    ]
    members += [
        Member(f"{_INFO}/METADATA", _metadata().encode()),
        Member(
            f"{_INFO}/WHEEL",
            b"Wheel-Version: 1.0\nGenerator: lekiwi-deploy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        Member(f"{_INFO}/entry_points.txt", _entry_points().encode()),
    ]
    record = "".join(f"{member.name},sha256={_hash(member.data)},{len(member.data)}\n" for member in members)
    members.append(Member(f"{_INFO}/RECORD", f"{record}{_INFO}/RECORD,,\n".encode()))
    return archive(members, compressed=True)


def _belongs(path: Path) -> bool:
    return path.parts[0] not in _LEFT_OUT and "__pycache__" not in path.parts and path.suffix != ".pyc"


def _metadata() -> str:
    facts = distribution(DISTRIBUTION).metadata
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {DISTRIBUTION}",
        f"Version: {__version__}",
        f"Summary: {facts['Summary']}",
    ]
    lines += [f"Requires-Python: {facts['Requires-Python']}", *(f"Requires-Dist: {line}" for line in requirements())]
    return "\n".join(lines) + "\n"


def _entry_points() -> str:
    found = distribution(DISTRIBUTION).entry_points.select(group="console_scripts")
    return "[console_scripts]\n" + "".join(f"{point.name} = {point.value}\n" for point in sorted(found))


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
