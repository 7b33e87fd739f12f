"""Makes a project's own scripts and its name known without installing it: files that become part of the release."""

from __future__ import annotations

import shutil
from pathlib import Path

from lekiwi_deploy.server.builds.python_project import PythonProject, normalised
from lekiwi_deploy.server.builds.tidy import launcher

FOLDER = ".lekiwi-launch"
"""Below the project's files."""


def write_launchers(tree: Path, project: PythonProject) -> bool:
    """Writes `FOLDER`: `bin/` with the project's scripts, and the metadata that `importlib.metadata` looks for. Whether there is any."""
    folder = tree / FOLDER
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
    if project.name is None:
        return False
    name = normalised(project.name).replace("-", "_")
    info = folder / f"{name}-{project.version or '0.0.0'}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version or '0.0.0'}\n"
    )
    if project.scripts:
        lines = [f"{script} = {target}" for script, target in project.scripts.items()]
        (info / "entry_points.txt").write_text("[console_scripts]\n" + "\n".join(lines) + "\n")
        (folder / "bin").mkdir()
    for script, target in project.scripts.items():
        module, _, attribute = target.partition(":")
        path = folder / "bin" / script
        path.write_text(launcher(module, attribute))
        path.chmod(0o755)
    return True
