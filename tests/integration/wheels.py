"""Small wheels made on the spot, so that tests of dependencies need no package index."""

from __future__ import annotations

import io
import zipfile


def wheel(
    name: str, version: str, tag: str = "py3-none-any", *, files: dict[str, str] | None = None, scripts: str = ""
) -> tuple[str, bytes]:
    """(file name, content) of a wheel. `scripts`: lines of `[console_scripts]`."""
    info = f"{name}-{version}.dist-info"
    content = {
        f"{name}/__init__.py": f'VERSION = "{version}"\n',
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: {'true' if tag.endswith('any') else 'false'}\nTag: {tag}\n",
    }
    if scripts:
        content[f"{info}/entry_points.txt"] = f"[console_scripts]\n{scripts}\n"
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in content) + f"{info}/RECORD,,\n"
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in content.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return f"vendor/{name}-{version}-{tag}.whl", target.getvalue()
