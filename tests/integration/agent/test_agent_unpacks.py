"""A bundle becomes a virtual environment, with a real interpreter, wherever it is interrupted."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_bundle import wheel, write_bundle

from lekiwi_deploy.agent.install import unpack as unpacking
from lekiwi_deploy.agent.install.unpack import Refused, damaged, unpack


def install(bundle: Path, root: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """As install.sh does."""
    command = [sys.executable, "-I", str(bundle), "--root", str(root), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60)


def agents(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "opt/lekiwi/agent").iterdir() if not path.name.startswith(".lock"))


def test_the_installer_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(unpacking.__file__).read_text())
    names = {
        name
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_bundle_unpacks_itself_and_hands_over_to_the_agent_in_it(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        done = install(write_bundle(tmp_path, "1.0"), tmp_path / "root", "--server", "http://x", stdin="token\n")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    (release,) = agents(tmp_path / "root")
    assert release.startswith("1.0-") and len(release) == len("1.0-") + 8
    assert said == {
        "version": "1.0",
        "arguments": ["install", "--release", release, "--root", str(tmp_path / "root"), "--server", "http://x"],
        "stdin": "token\n",
        "umask": 0o022,
    }
    home = tmp_path / "root/opt/lekiwi/agent" / release
    assert damaged(home) == ""
    assert (home / "lib").stat().st_mode & 0o055 == 0o055, "the half that is not root reads it"
    assert not list(home.rglob("*.new")) and not (home / "bin/activate").exists()
    assert list(home.rglob("__pycache__/*.pyc")), "compiled once, not in every start"


def test_wheels_are_unpacked_as_their_format_says(tmp_path: Path) -> None:
    other = wheel(
        "tool",
        "2.0",
        {
            "tool/__init__.py": b"NAME = 'tool'\n",
            "tool-2.0.data/scripts/tool": b"#!python\nimport tool; print(tool.NAME)\n",
            "tool-2.0.data/data/share/tool.txt": b"data",
            "tool-2.0.data/purelib/tool_more.py": b"MORE = 1\n",
            "tool-2.0.data/headers/tool.h": b"",
        },
    )
    home = unpack(write_bundle(tmp_path, "1.0", other), tmp_path / "root")
    script = subprocess.run([home / "bin/tool"], capture_output=True, text=True, check=True)
    assert script.stdout == "tool\n"
    assert (home / "share/tool.txt").read_bytes() == b"data"
    more = subprocess.run(
        [home / "bin/python", "-c", "import tool_more; print(tool_more.MORE)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert more.stdout == "1\n"
    names = subprocess.run(
        [home / "bin/python", "-c", "import importlib.metadata as m; print(sorted(d.name for d in m.distributions()))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert names.stdout.strip() == "['lekiwi_deploy', 'tool']"


@pytest.mark.parametrize("name", ["../../evil.py", "/evil.py", "tool-2.0.data/scripts/../../evil"])
def test_a_wheel_cannot_write_outside(tmp_path: Path, name: str) -> None:
    bundle = write_bundle(tmp_path, "1.0", wheel("tool", "2.0", {name: b"evil"}))
    with pytest.raises(Refused, match="leads out"):
        unpack(bundle, tmp_path / "root")
    assert not list(tmp_path.rglob("*evil*"))


def test_what_the_lock_does_not_list_is_refused(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, "1.0", wheel("stranger", "1", {"stranger.py": b""}), listed=False)
    with pytest.raises(Refused, match=r"stranger-1-py3-none-any\.whl in the bundle is not what the server's list says"):
        unpack(bundle, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_another_lock_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="another agent than the one that was pinned"):
        unpack(write_bundle(tmp_path, "1.0"), tmp_path / "root", lock="0" * 64)


def test_a_wheel_whose_files_do_not_match_its_record_is_refused(tmp_path: Path) -> None:
    member = wheel("tool", "2.0", {"tool.py": b"good_code"})
    spoiled = type(member)(member.name, member.data.replace(b"good_code", b"evil_code"))
    with pytest.raises(Exception, match=r"does not match|Bad CRC"):
        unpack(write_bundle(tmp_path, "1.0", spoiled), tmp_path / "root")


def test_half_a_bundle_says_so(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, "1.0")
    bundle.write_bytes(bundle.read_bytes()[:2000])
    assert install(bundle, tmp_path / "root").returncode != 0
    with pytest.raises(Refused, match="only a part of one"):
        unpack(bundle, tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_again_changes_nothing_and_damage_is_repaired(tmp_path: Path) -> None:
    bundle, root = write_bundle(tmp_path, "1.0"), tmp_path / "root"
    home = unpack(bundle, root)
    first = home.stat().st_ino
    assert unpack(bundle, root) == home
    assert home.stat().st_ino == first
    code = next(home.rglob("lekiwi_deploy/__init__.py"))
    code.write_text("broken")
    assert f"{code} is missing or was changed" in damaged(home)
    assert unpack(bundle, root) == home
    assert damaged(home) == ""
    assert agents(root) == [home.name]


KILLER = """
import os, runpy, shutil, signal, sys
left = int(sys.argv.pop(1))
def deadly(call):
    def die_or(*a, **k):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*a, **k)
    return die_or
for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "symlink", "chmod", "fsync", "execv"):
    setattr(os, name, deadly(getattr(os, name)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_killed_at_any_step_the_old_agent_is_there_and_the_next_try_succeeds(tmp_path: Path) -> None:
    root = tmp_path / "root"
    old, new = write_bundle(tmp_path, "1.0"), write_bundle(tmp_path, "2.0")
    home = unpack(old, root)
    (home.parent / "current").symlink_to(home.name)
    step, died = 0, 0
    while True:
        command = [sys.executable, "-I", "-c", KILLER, str(step), str(new), "--root", str(root)]
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=60)
        assert (home.parent / "current").resolve() == home
        assert damaged(home) == ""
        for folder in home.parent.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                assert damaged(folder) == "", f"step {step} left a release that is not whole"
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        step, died = step + 3, died + 1
        for folder in home.parent.glob("2.0-*"):  # the next one is to come by all the steps again
            unpacking.shutil.rmtree(folder)
    assert died > 10
    assert json.loads(done.stdout)["version"] == "2.0"
    assert not list(home.parent.glob(".tmp-*"))
