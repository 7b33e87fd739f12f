"""Kill -9 and disk errors at every call that changes the disk, and at every failpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults_world import Deployer, copied, settle, spread

from lekiwi_deploy.content.failpoints import NAMES

UNREACHED = {
    "store.drop_staged": "only when a pack broke off",
    "store.set_aside": "test_agent_damage",
    "store.take_back": "test_agent_damage",
    "store.discard": "test_agent_content",
    "store.clear_incoming": "after a kill: test_a_second_fault_…",
    "slot.leftovers": "after a kill: test_a_second_fault_…",
    "fetch.kept": "packs of more than 1 MiB: test_agent_content",
    "stage.before_lay_out": "laid out again: test_agent_killed",
    "stage.after_lay_out": "laid out again: test_agent_killed",
    "switch.before_start": "services: test_agent_killed",
    "switch.after_start": "services: test_agent_killed",
    "switch.before_lead": "services: test_agent_killed",
    "switch.after_lead": "services: test_agent_killed",
    "switch.before_stop": "services: test_agent_killed",
    "switch.after_stop": "services: test_agent_killed",
    "hook.before": "services: test_agent_killed",
    "hook.after": "services: test_agent_killed",
    "service.after_spawn": "services: test_agent_killed",
    "service.record": "services: test_agent_killed",
    "service.forget": "services: test_agent_killed",
    "variables.before_write": "variables: test_agent_variables",
    "variables.before_remove": "variables: test_agent_variables",
    "journal.full": "test_agent_content, on a full disk",
    "journal.set_aside": "test_agent_killed, damaged journal",
    "journal.reserve": "the reserve is there from the first start",
    "spool.new_segment": "after 512 KiB: unit tests of the spool",
    "spool.thin": "unit tests of the spool",
    "spool.forget": "unit tests of the spool",
    "spool.cut": "unit tests of the spool",
}
"""Failpoints that a deployment without services does not come by, and who does."""
ACTIONS = ("kill", "ENOSPC", "EIO", "EROFS")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("action", ACTIONS)
def test_at_every_call_that_changes_the_disk(
    deploys: Deployer, base: Path, calls: int, tmp_path: Path, soak: bool, action: str
) -> None:
    points = spread(calls, calls if soak else 28 if action == "kill" else 9, turn=ACTIONS.index(action))
    violations: dict[int, list[str]] = {}
    struck = 0
    for at in points:
        root = copied(base, tmp_path)
        told = deploys.run(root, action=action, at=at)
        struck += told.code == -9 if action == "kill" else told.code in (0, 70)
        found = settle(deploys, root, told)
        if found:
            violations[at] = found
    print(f"{action}: {len(points)} of {calls} points, {struck} struck, {len(violations)} violations")
    assert not violations
    assert struck >= 0.9 * len(points)


@pytest.mark.timeout(3600)
def test_at_every_failpoint(deploys: Deployer, base: Path, tmp_path: Path, soak: bool) -> None:
    violations: dict[str, list[str]] = {}
    unreached, runs = set(), 0
    for name in sorted(NAMES):
        for action in (*ACTIONS, "delay") if soak else ("kill",):
            root = copied(base, tmp_path)
            told = deploys.run(root, failpoint=f"{name}:{action}")
            runs += 1
            if action == "kill" and told.code == 0:
                unreached.add(name)
                break
            found = settle(deploys, root, told)
            if found:
                violations[f"{name}:{action}"] = found
    print(f"failpoints: {len(NAMES) - len(unreached)} of {len(NAMES)}, {runs} runs, {len(violations)} violations")
    assert not violations
    assert unreached == set(UNREACHED)


@pytest.mark.timeout(3600)
def test_a_second_fault_while_the_first_is_cleared_up(
    deploys: Deployer, base: Path, calls: int, tmp_path: Path, soak: bool
) -> None:
    violations: dict[tuple[int, int], list[str]] = {}
    firsts = spread(calls, 30 if soak else 4)
    for first in firsts:
        for second in range(1, 40) if soak else (2, 9):
            root = copied(base, tmp_path)
            deploys.run(root, action="kill", at=first)
            told = deploys.run(root, action="kill", at=second)
            found = settle(deploys, root, told)
            if found:
                violations[first, second] = found
    assert not violations
