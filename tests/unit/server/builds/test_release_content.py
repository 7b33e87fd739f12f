from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.inputs import input_digest
from lekiwi_deploy.server.builds.launchers import FOLDER, write_launchers
from lekiwi_deploy.server.builds.python_project import PythonProject, Source
from lekiwi_deploy.server.builds.service_content import content_digest, services_of
from lekiwi_deploy.server.builds.spec import ServiceSpec
from lekiwi_deploy.server.builds.target_platforms import distinct, shown
from lekiwi_deploy.server.builds.tidy import refuse_links, tidy
from lekiwi_deploy.wire.manifest import FileEntry, FileKind
from lekiwi_deploy.wire.platforms import Platform


def entry(path: str, content: str = "") -> FileEntry:
    return FileEntry(f"code/{path}", FileKind.FILE, len(content), object_digest(content.encode()))


BASE = ServiceSpec("base", ("python", "-m", "base"), files=("kiwi/base/**", "kiwi/common/**"))
WEB = ServiceSpec("web", ("/bin/sh", "-c", "serve"))
FILES = [entry("kiwi/base/a.py"), entry("kiwi/common/c.py"), entry("kiwi/web/w.py"), entry("lekiwi.yaml")]


def contents(files: list[FileEntry]) -> dict[str, str]:
    return {service.name: service.content for service in services_of([WEB, BASE], files)}


def test_a_service_changes_only_with_its_own_files() -> None:
    before = contents(FILES)
    web = contents([*FILES[:2], entry("kiwi/web/w.py", "new"), FILES[3]])
    assert web["base"] == before["base"] and web["web"] != before["web"]
    base = contents([entry("kiwi/base/a.py", "new"), *FILES[1:]])
    assert base["web"] == before["web"] and base["base"] != before["base"]


def test_a_service_without_files_is_made_of_what_no_other_claims() -> None:
    assert contents([*FILES, entry("README.md")])["web"] != contents(FILES)["web"]
    assert contents([*FILES, entry("README.md")])["base"] == contents(FILES)["base"]


def test_what_lekiwi_yaml_says_of_others_restarts_nobody() -> None:
    assert contents([*FILES[:3], entry("lekiwi.yaml", "changed")]) == contents(FILES)


def test_files_that_match_nothing_are_a_mistake() -> None:
    with pytest.raises(BadInput, match=r"services\.base\.files: no file matches"):
        services_of([BASE], [entry("main.py")])


def test_python_is_whatever_the_robot_calls_python3() -> None:
    assert services_of([BASE], FILES)[0].run == ("python3", "-m", "base")


@given(st.permutations(FILES))
def test_the_order_of_files_does_not_matter(files: list[FileEntry]) -> None:
    assert content_digest(files) == content_digest(FILES)
    assert contents(files) == contents(FILES)


PI = Platform("linux", "aarch64", "glibc", "2.36", "3.11")


def test_robots_that_can_share_a_tree_get_one() -> None:
    older = Platform("linux", "aarch64", "glibc", "2.31", "3.11")
    other = Platform("linux", "x86_64", "glibc", "2.36", "3.11")
    assert distinct([PI, older, PI, other]) == (older, other)
    assert distinct([Platform("linux", "aarch64", "glibc", "2.9", "3.11"), PI])[0].libc_version == "2.9"
    assert shown([older, other]) == "linux-aarch64, linux-x86_64"
    assert "Python 3.12" in shown([PI, Platform("linux", "aarch64", "glibc", "2.36", "3.12")])


def test_every_input_of_a_build_counts() -> None:
    digests = {
        input_digest(FILES, [PI], pythons=["3.11"], tools=["uv 1"]),
        input_digest(FILES[1:], [PI], pythons=["3.11"], tools=["uv 1"]),
        input_digest(FILES, [], pythons=["3.11"], tools=["uv 1"]),
        input_digest(FILES, [PI], pythons=[], tools=["uv 1"]),
        input_digest(FILES, [PI], pythons=["3.11"], tools=["uv 2"]),
    }
    assert len(digests) == 5
    assert input_digest(FILES, [PI, PI], pythons=["b", "a"], tools=[]) == input_digest(
        FILES, [PI, PI], pythons=["a", "b"], tools=[]
    )


def installed(root: Path, python: str) -> None:
    """What uv leaves of a package with two programs, on a machine whose Python is at `python`."""
    info = root / "pkg-1.0.dist-info"
    info.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "pkg.py").write_text("x = 1\n")
    (root / "bin/tool").write_text(f"#!{python}\nimport sys\nfrom pkg.cli import main\nsys.exit(main())\n")
    (root / "bin/script").write_text(f"#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\nprint(1)\n")
    (root / "bin/data").write_bytes(b"\x7fELF")
    (info / "entry_points.txt").write_text("[console_scripts]\ntool = pkg.cli:main [extra]\n")
    (info / "direct_url.json").write_text(f'{{"url": "{python}"}}')
    (info / "RECORD").write_text(
        f"pkg.py,sha256=abc,6\nbin/tool,sha256={len(python)},9\npkg-1.0.dist-info/direct_url.json,sha256=x,1\npkg-1.0.dist-info/RECORD,,\n"
    )
    (root / "__pycache__").mkdir()
    (root / "__pycache__/pkg.pyc").write_text(python)
    (root / ".lock").touch()


def test_installed_files_are_the_same_bytes_whatever_machine_installed_them(tmp_path: Path) -> None:
    trees = []
    for number, python in enumerate(("/usr/bin/python3", "/home/anna/.venv/bin/python3.11")):
        root = tmp_path / str(number)
        installed(root, python)
        tidy(root)
        trees.append({str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()})
    assert trees[0] == trees[1]
    assert "pkg-1.0.dist-info/direct_url.json" not in trees[0] and "__pycache__/pkg.pyc" not in trees[0]
    assert trees[0]["bin/script"] == b"#!/usr/bin/env python3\nprint(1)\n"
    assert b"from pkg.cli import main" in trees[0]["bin/tool"] and trees[0]["bin/data"] == b"\x7fELF"
    assert (tmp_path / "0/bin/tool").stat().st_mode & 0o777 == 0o755


def test_tidying_never_writes_through_a_hard_link(tmp_path: Path) -> None:
    installed(tmp_path / "deps", "/usr/bin/python3")
    cached = tmp_path / "cached"
    cached.hardlink_to(tmp_path / "deps/bin/tool")
    before = cached.read_bytes()
    tidy(tmp_path / "deps")
    assert cached.read_bytes() == before


def test_a_link_among_installed_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="symbolic link"):
        refuse_links(tmp_path)


def test_a_projects_own_scripts_and_name_become_part_of_the_release(tmp_path: Path) -> None:
    project = PythonProject(Source.PYPROJECT, name="My.Robot", version="0.2", scripts={"kiwi": "kiwi.cli:app.main"})
    assert write_launchers(tmp_path, project)
    text = (tmp_path / FOLDER / "bin/kiwi").read_text()
    assert text == "#!/usr/bin/env python3\nimport sys\nfrom kiwi.cli import app\nsys.exit(app.main())\n"
    assert (tmp_path / FOLDER / "my_robot-0.2.dist-info/METADATA").read_text().splitlines()[1:] == [
        "Name: My.Robot",
        "Version: 0.2",
    ]
    assert not write_launchers(tmp_path, replace(project, name=None)) and not (tmp_path / FOLDER).exists()
