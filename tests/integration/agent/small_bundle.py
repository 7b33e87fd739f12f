"""Bundles of small wheels, made on the spot, that unpack into an agent which says what it was asked."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from importlib.resources import files
from pathlib import Path

from lekiwi_deploy.server.agent_bundle.archive import Member, archive
from lekiwi_deploy.server.agent_bundle.client_commands import lock_text

PROGRAM = """
import json, os, sys
def main():
    print(json.dumps({"version": VERSION, "arguments": sys.argv[1:], "stdin": sys.stdin.read(), "umask": os.umask(0)}))
"""


def wheel(name: str, version: str, content: dict[str, bytes], tag: str = "py3-none-any") -> Member:
    """A wheel as a build tool makes it, with its RECORD."""
    info = f"{name}-{version}.dist-info"
    content = {
        **content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    lines = [f"{path},sha256={_hash(data)},{len(data)}" for path, data in content.items()]
    content[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""]).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for path, data in content.items():
            file.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), data)
    return Member(f"wheels/{name}-{version}-{tag}.whl", target.getvalue())


def agent_wheel(version: str) -> Member:
    """A `lekiwi-agent` that prints what it was called with."""
    info = f"lekiwi_deploy-{version}.dist-info"
    return wheel(
        "lekiwi_deploy",
        version,
        {
            "lekiwi_deploy/__init__.py": f"VERSION = {version!r}\n{PROGRAM}".encode(),
            f"{info}/entry_points.txt": b"[console_scripts]\nlekiwi-agent = lekiwi_deploy:main\n",
        },
    )


def write_bundle(folder: Path, version: str, *others: Member, listed: bool = True) -> Path:
    """A bundle of that version in `folder`. `listed` False: its lock does not know `others`."""
    folder.mkdir(parents=True, exist_ok=True)
    installer = Member("__main__.py", files("lekiwi_deploy.agent").joinpath("install", "unpack.py").read_bytes())
    ours = [installer, agent_wheel(version)]
    lock = lock_text("", [(hashlib.sha256(m.data).hexdigest(), m.name) for m in [*ours, *(others if listed else ())]])
    path = folder / f"{version}.zip"
    path.write_bytes(archive([*ours, Member("lock.txt", lock.encode()), *others], compressed=False))
    return path


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
