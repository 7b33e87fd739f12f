"""environments, groups, and where robots belong."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from cli_said import DEP, KIWI, NOW, PRODUCTION, Lekiwi, environment, project
from scripted_server import Answer, Asked, ScriptedServer

from lekiwi_deploy.wire.api import Robot, Robots
from lekiwi_deploy.wire.environments import EnvironmentPolicy, Group, Groups, PolicyDifference, SetPolicy, Setting
from lekiwi_deploy.wire.ids import EnvironmentName, RobotId
from lekiwi_deploy.wire.policy import Approvals, Policy, RolloutStep
from lekiwi_deploy.wire.reasons import Drained, Unplaced

STAGING = EnvironmentName("staging")
POLICY = "/api/projects/kiwi/environments/production/policy"


def policy(*settings: Setting, change: int | None = None, **more: object) -> EnvironmentPolicy:
    return EnvironmentPolicy(
        **{  # type: ignore[arg-type]
            "environment": PRODUCTION, "project": KIWI, "branch": None, "policy": Policy(), "settings": settings,
            "text": "production:\n  in_flight: 3  # default: (any number)\n  # auto_deploy: true\n", "seeded": True,
            "change": change, **more,
        }
    )  # fmt: skip


def in_flight(value: str) -> Setting:
    return Setting(key="in_flight", value=value, default=not value, means="(any number)")


def robot(**fields: object) -> Robot:
    return Robot(
        **{  # type: ignore[arg-type]
            "name": "kiwi-1", "project": KIWI, "environment": PRODUCTION, "labels": {}, "joined_at": NOW, "online": True,
            "last_seen_at": NOW, **fields,
        }
    )  # fmt: skip


def test_environments_are_listed_with_what_becomes_of_a_push(anna: Lekiwi, server: ScriptedServer) -> None:
    careful = environment(policy=Policy(approvals=Approvals(count=2)))
    stepwise = environment(name=STAGING, branch=None, policy=Policy(steps=(RolloutStep(robots=1),), groups=("lab",)))
    listed = project(careful, stepwise)
    server.on("GET", "/api/projects/kiwi", msgspec.structs.replace(listed, branches=(("next", "lab"),)))
    ran = anna("environments")
    assert [" ".join(line.split()) for line in ran.out.splitlines()] == [
        "production dep_8jK4mN9p 2/2 healthy main minimal waits for 2 approvals what people put there",
        "staging dep_8jK4mN9p 2/2 healthy next minimal goes live in 1 steps group lab",
    ]
    assert anna("environments", "--json").json()["schema"] == "lekiwi.environments/1"


def test_a_policy_is_shown_as_lekiwi_yaml_would_have_it(anna: Lekiwi, server: ScriptedServer) -> None:
    differs = (PolicyDifference(key="in_flight", here="3", file="2"),)
    server.on("GET", POLICY, policy(in_flight("3"), differs=differs, robots=(RobotId("kiwi-1"),)))
    server.on("GET", "/api/projects/kiwi", project(environment(branch=None)))
    ran = anna("environments", "show", "production")
    assert "production:\n  in_flight: 3  # default: (any number)\n  # auto_deploy: true\n" in ran.out
    assert "1: kiwi-1" in ran.out
    assert "lekiwi.yaml says something else of in_flight" in ran.err


def test_set_sends_keys_as_they_are_written_and_says_how_to_undo_it(anna: Lekiwi, server: ScriptedServer) -> None:
    asked: list[SetPolicy] = []

    def put(request: Asked) -> Answer:
        asked.append(msgspec.json.decode(request.body, type=SetPolicy))
        return Answer(policy(in_flight("3"), change=7, moved={RobotId("kiwi-1"): (PRODUCTION, STAGING)}))

    server.on("GET", POLICY, policy(in_flight("")))
    server.on("GET", "/api/robots", Robots(robots=(robot(),)))
    server.on("PUT", POLICY, put)
    ran = anna("environments", "set", "production", "in_flight=3", "rollout=[{robots: 1, soak: 2m}]", "--reason", "so")
    assert asked == [SetPolicy(set={"in_flight": "3", "rollout": "[{robots: 1, soak: 2m}]"}, reason="so")]
    assert ran.out == "production: in_flight  (any number) → 3\n"
    assert "1 robot moved from production to staging: kiwi-1" in ran.err
    assert "undo: lekiwi environments set production --unset in_flight" in ran.err


def test_set_without_anything_to_set_says_what_there_is(anna: Lekiwi, server: ScriptedServer) -> None:
    assert anna("environments", "set", "production").code == 2
    assert "give KEY=VALUE" in anna("environments", "set", "production", "in_flight").err
    assert "is given twice" in anna("environments", "set", "production", "a=1", "a=2").err
    assert "one of them" in anna("environments", "set", "production", "a=1", "--follow-file").err
    assert "cannot be read" in anna("environments", "set", "production", "--file", "nowhere.yaml").err
    assert server.asked == []


def test_a_file_replaces_the_policy(anna: Lekiwi, server: ScriptedServer, home: Path) -> None:
    (home / "kiwi" / "p.yaml").write_text("in_flight: 3\n")
    server.on("GET", POLICY, policy(in_flight("3")))
    server.on("PUT", POLICY, policy(in_flight("3")))
    ran = anna("environments", "set", "production", "--file", "p.yaml")
    sent = msgspec.json.decode(server.asked[-1].body, type=SetPolicy)
    assert (sent.text, sent.file) == ("in_flight: 3\n", "p.yaml")
    assert "is so already: nothing changed" in ran.out


def test_diff_puts_the_server_beside_lekiwi_yaml(anna: Lekiwi, server: ScriptedServer) -> None:
    differs = (PolicyDifference(key="in_flight", here="3", file="2"),)
    server.on("GET", f"{POLICY}/diff", policy(differs=differs), policy(), policy(seeded=False))
    assert "in_flight  3  2" in anna("environments", "diff", "production").out
    assert "is as lekiwi.yaml says" in anna("environments", "diff", "production").out
    assert "says nothing of production" in anna("environments", "diff", "production").out


def test_an_environment_is_removed_only_when_somebody_says_so(anna: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", POLICY, policy())
    server.on("DELETE", "/api/projects/kiwi/environments/production", Answer(status=204))
    refused = anna("environments", "rm", "production")
    assert refused.code == 2 and "lekiwi environments rm production --yes" in refused.err
    ran = anna("environments", "rm", "production", "--yes", "--json")
    assert ran.json() == {"environment": "production", "schema": "lekiwi.environment-removed/1"}


def test_groups_are_listed_and_defined(anna: Lekiwi, server: ScriptedServer) -> None:
    lab = Group(name="lab", project=KIWI, selector="site=lab", defined=True, by="anna", at=NOW)
    spare = Group(name="spare", project=KIWI, selector="group=spare", defined=False, robots=(RobotId("kiwi-1"),))
    server.on("GET", "/api/projects/kiwi/groups", Groups(groups=(lab, spare)))
    assert [line.split()[:2] for line in anna("groups").out.splitlines()] == [["lab", "0"], ["spare", "1"]]
    lost = robot(out=Unplaced(environment="production", selects="group lab"))
    server.on("GET", "/api/robots", Robots(robots=(lost,)))
    server.on("PUT", "/api/projects/kiwi/groups/lab", msgspec.structs.replace(lab, selector="site=hall"))
    ran = anna("groups", "set", "lab", "site=hall")
    assert ran.out == "lab: site=hall  (0 robots)\n"
    assert "undo: lekiwi groups set lab site=lab" in ran.err
    assert "Warning: kiwi-1: their labels fit no environment; they keep what they run" in ran.err
    server.on("GET", "/api/projects/kiwi/groups/lab", msgspec.structs.replace(lab, environments=(STAGING,)))
    refused = anna("groups", "rm", "lab")
    assert refused.code == 2 and "staging will have the robots with the label group=lab instead" in refused.err
    server.on("DELETE", "/api/projects/kiwi/groups/lab", Answer(status=204))
    assert anna("groups", "rm", "lab", "--yes", "--json").json()["group"] == "lab"


@pytest.fixture
def bob(anna: Lekiwi, lekiwi: Lekiwi) -> Lekiwi:
    """Somebody who names no project: robots have names of their own."""
    return lekiwi


def test_a_move_says_what_follows_and_how_to_undo_it(bob: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/robots/kiwi-1", robot())
    server.on("POST", "/api/robots/kiwi-1/move", robot(environment=STAGING, labels={"group": "lab"}))
    server.on("GET", "/api/projects/kiwi", project(environment(name=STAGING)))
    ran = bob("robots", "move", "kiwi-1", "staging")
    assert ran.out == "kiwi-1: production → staging\n"
    assert "its labels: group=lab" in ran.err and f"it goes over to {DEP}" in ran.err
    assert "undo: lekiwi robots move kiwi-1 production" in ran.err


def test_a_drain_is_told_and_shown(bob: Lekiwi, server: ScriptedServer) -> None:
    drained = robot(out=Drained(by="anna", since=NOW, why="arm is open"))
    server.on("GET", "/api/robots/kiwi-1", robot(), drained)
    server.on("POST", "/api/robots/kiwi-1/drain", drained)
    server.on("POST", "/api/robots/kiwi-1/undrain", robot())
    server.on("GET", "/api/projects/kiwi", project(environment(live=None)))
    ran = bob("robots", "drain", "kiwi-1", "--reason", "arm is open")
    assert "kiwi-1 is drained" in ran.out and "lekiwi robots undrain kiwi-1" in ran.err
    assert "nothing changed" in bob("robots", "drain", "kiwi-1").out
    assert "drained by anna (arm is open)" in bob("robots", "show", "kiwi-1").out
    ran = bob("robots", "undrain", "kiwi-1")
    assert "takes part in deployments again" in ran.out
    assert "undo: lekiwi robots drain kiwi-1 --reason 'arm is open'" in ran.err


def test_a_label_that_leaves_a_robot_without_a_place_is_a_warning(bob: Lekiwi, server: ScriptedServer) -> None:
    server.on("GET", "/api/robots/kiwi-1", robot(labels={"site": "lab"}))
    lost = robot(out=Unplaced(environment="production", selects="site=lab"))
    server.on("PATCH", "/api/robots/kiwi-1", lost)
    ran = bob("robots", "tag", "kiwi-1", "site-")
    assert "Warning: kiwi-1: its labels fit no environment any more (production has site=lab)" in ran.err
    assert "undo: lekiwi robots tag kiwi-1 site=lab" in ran.err


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program called ssh that writes down what it was told, and ends as its last word says."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {told}\necho out\nfor last; do :; done\nexit "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return told


def test_a_command_runs_on_the_robot_by_ssh_and_its_exit_code_is_ours(
    bob: Lekiwi, server: ScriptedServer, ssh: Path
) -> None:
    server.on("GET", "/api/robots/kiwi-1", robot(hostname="kiwi-host", labels={"address": "pi@10.0.0.5"}))
    ran = bob("robots", "exec", "kiwi-1", "--", "exit", "3")
    assert (ran.code, ran.out) == (3, "out\n")
    assert ssh.read_text().splitlines()[-4:] == ["--", "pi@10.0.0.5", "exit", "3"]
    ran = bob("robots", "exec", "kiwi-1", "--json", "--address", "kiwi-host", "--user", "pi", "--", "0")
    told = ran.json()
    assert (ran.code, told["target"], told["stdout"]) == (0, "pi@kiwi-host", "out\n")


def test_a_robot_that_ssh_cannot_reach_or_nobody_knows_the_place_of_says_so(
    bob: Lekiwi, server: ScriptedServer, ssh: Path
) -> None:
    server.on("GET", "/api/robots/kiwi-1", robot(hostname="kiwi-host"), robot())
    ran = bob("robots", "exec", "kiwi-1", "--", "255")
    assert ran.code == 1 and "ssh could not get to kiwi-1 as kiwi-host" in ran.err
    ran = bob("robots", "ssh", "kiwi-1")
    assert ran.code == 4 and "nobody said where kiwi-1 is" in ran.err


def test_a_reboot_is_asked_for_and_waited_for(bob: Lekiwi, server: ScriptedServer, ssh: Path) -> None:
    away = robot(hostname="kiwi-host", online=False)
    server.on("GET", "/api/robots/kiwi-1", robot(hostname="kiwi-host"))
    refused = bob("robots", "reboot", "kiwi-1")
    assert refused.code == 2 and "lekiwi robots reboot kiwi-1 --yes" in refused.err
    assert not ssh.exists()
    program = ssh.parent / "bin" / "ssh"
    program.write_text("#!/bin/sh\nexit 0\n")
    server.on("GET", "/api/robots/kiwi-1", robot(hostname="kiwi-host"), away, robot(hostname="kiwi-host"))
    ran = bob("robots", "reboot", "kiwi-1", "--yes")
    assert ran.code == 0 and "is linked again after" in ran.out
    program.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    ran = bob("robots", "reboot", "kiwi-1", "--yes", "--no-wait")
    assert ran.code == 1 and "kiwi-1 would not reboot: sudo: a password is required" in ran.err
