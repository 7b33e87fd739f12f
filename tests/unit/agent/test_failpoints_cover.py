"""Whatever changes the robot's disk has a failpoint, so that the sweeps in tests/integration/faults go through it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lekiwi_deploy
from lekiwi_deploy.content.failpoints import DELAY, NAMES, arm, fp

TOP = Path(lekiwi_deploy.__file__).parent
OF_OS = {"rename", "replace", "link", "symlink", "unlink", "remove", "mkdir", "makedirs", "rmdir", "truncate", "write"}
OF_PATHS = {"rename", "unlink", "mkdir", "symlink_to", "hardlink_to", "write_text", "write_bytes", "rmdir"}

ELSEWHERE = {
    "agent/install/": "adoption: run by a person, repeated whole when it fails; swept by its own tests",
    "agent/self_update/": "has its own two slots and its own tests of death at every step",
    "agent/doctor/": "looks, and changes nothing that lasts",
    "agent/net/": "the half without rights: writes nothing but its socket",
    "agent/traffic/": "the kernel's table is the truth; the file for boot is written by write_durably",
    "agent/supervisors/systemd/": "units are generated anew from the journal at every start",
    "agent/hold": "leases are written by write_durably, or are sockets and locks",
    "agent/busy_lock.py": "a lock file",
}
"""Folders and files that other tests answer for."""
EXCUSED = {
    "agent/config.py:write_config": "at joining, by write_durably",
    "agent/config.py:write_update_key": "at joining",
    "agent/config.py:_write_secret": "at joining",
    "agent/control.py:open": "a socket, made anew at every start",
    "agent/control.py:close": "a socket",
    "agent/environment.py:link_interpreter": "made anew at every start",
    "agent/join.py:_forget_the_server_before": "at joining, by a person",
    "agent/lock.py:agent_lock": "a lock file",
    "agent/paths.py:make": "folders, made anew at every start",
    "agent/scrub.py:_save": "where the scrubber was: lost, it reads once more",
    "agent/instances.py:prepare": "a service's state folder, made anew at every start",
    "agent/locks.py:make_lock": "a lock file, made anew at every start",
    "agent/log_files.py:clear_away": "old captured output, not the robot's state",
    "agent/spool.py:__init__": "a folder, made anew at every start",
    "agent/tail.py:_cut": "the captured output, not the robot's state",
    "agent/supervisors/process.py:run": "a service's state folder",
    "content/hash_cache.py:save": "a cache of the person's own machine",
    "content/objects.py:close": "gives up a temporary file; leftovers are cleared at start",
    "content/objects.py:_copy": "writes a temporary file",
    "content/slots.py:_fill": "works below a temporary folder; its caller has failpoints around it",
}
"""Functions that change something on the disk and need none, with the reason."""


def changing(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Name of each function that changes the disk itself, and whether it has a failpoint."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
            has = any(isinstance(call, ast.Name) and call.id == "fp" for call in calls)
            if any(_changes(call) for call in calls):
                yield function.name, has


def _changes(call: ast.expr) -> bool:
    if not isinstance(call, ast.Attribute):
        return False
    owner = call.value.id if isinstance(call.value, ast.Name) else ""
    if owner == "os":
        return call.attr in OF_OS
    return (owner == "shutil" and call.attr == "rmtree") or call.attr in OF_PATHS


def test_every_function_that_changes_the_disk_has_a_failpoint() -> None:
    without, excused = [], set()
    for path in sorted((*(TOP / "agent").rglob("*.py"), *(TOP / "content").rglob("*.py"))):
        module = path.relative_to(TOP).as_posix()
        if module.startswith(tuple(ELSEWHERE)):
            continue
        for name, has in changing(ast.parse(path.read_text())):
            where = f"{module}:{name}"
            if where in EXCUSED:
                excused.add(where)
            elif not has:
                without.append(where)
    assert not without, f'add fp("…") there and name it in content/failpoints.py: {", ".join(without)}'
    assert excused == set(EXCUSED), f"excused for nothing: {', '.join(sorted(set(EXCUSED) - excused))}"


def test_every_named_failpoint_is_somewhere_and_every_used_one_is_named() -> None:
    used = {
        node.args[0].value
        for top in ("agent", "content")
        for path in (TOP / top).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "fp"
        and isinstance(node.args[0], ast.Constant)
    }
    assert used == NAMES


def test_an_armed_failpoint_fails_once_as_a_disk_would() -> None:
    arm("store.write:ENOSPC")
    fp("store.before_flush")
    with pytest.raises(OSError, match="No space left"):
        fp("store.write")
    fp("store.write")


def test_a_failpoint_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no such failpoint"):
        arm("store.writes")
    with pytest.raises(ValueError, match="errno"):
        arm("store.write:EWHAT")
    arm(f"store.write:{DELAY}")
    arm(None)
