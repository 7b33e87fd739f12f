"""Getting a deployment and running it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.agent import machine
from lekiwi_deploy.wire.link import TrialPolicy
from lekiwi_deploy.wire.manifest import CommandCheck, HttpCheck, PlatformTree, ProcessCheck, Service, TcpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.2),)


def test_what_is_wanted_runs_and_is_told_with_its_digest(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    ref = server.release({"web.py": web_code("one")}, [web(port=port, health=QUICKLY)])
    generation = server.want(ref)
    report = server.healthy(ref)
    assert body(port) == "one"
    assert robot.current() == ref.id
    assert report.generation == generation
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.restarted) == ("healthy", ("web",))
    assert report.outcome.wire_bytes > 0
    assert report.outcome.switch_ms is not None and report.outcome.ready_ms is not None
    good = server.healthy(ref, good=True)
    assert good.outcome is not None and good.outcome.result == "good"
    metadata = json.loads((robot.root / f"opt/lekiwi/deployments/{ref.id}/metadata.json").read_text())
    assert {name: metadata[name] for name in ("id", "version", "commit", "branch", "author", "digest")} == {
        "id": ref.id,
        "version": ref.version,
        "commit": "8b71ff7",
        "branch": "main",
        "author": "anna",
        "digest": ref.digest,
    }


def test_only_what_changed_is_fetched_and_restarted(server: AgentServer, robot: AgentRobot) -> None:
    one, two = free_port(), free_port()
    robot.start()
    files = {"web.py": web_code("one"), "base.py": web_code("base"), "data.bin": os.urandom(200_000)}
    base = web("base", port=two, code="base.py", health=QUICKLY)
    first = server.release(files, [base, web(port=one, content="1", health=QUICKLY)])
    server.want(first)
    before = {report.name: report.pid for report in server.healthy(first, good=True).services}
    second = server.release({**files, "web.py": web_code("two")}, [base, web(port=one, content="2", health=QUICKLY)])
    server.want(second)
    report = server.healthy(second)
    after = {service.name: service for service in report.services}
    assert body(one) == "two"
    assert after["base"].pid == before["base"]
    assert after["base"].deployment == first.id
    assert after["web"].pid != before["web"]
    assert report.outcome is not None and report.outcome.restarted == ("web",)
    assert report.outcome.wire_bytes < 2000
    third = server.release({"web.py": web_code("two")}, [web(port=one, content="2", health=QUICKLY)])
    server.want(third)
    server.healthy(third)
    assert body(one) == "two" and body(two) is None


def test_a_rollback_downloads_nothing(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    first = server.release({"web.py": web_code("one")}, [web(port=port, content="1", health=QUICKLY)])
    second = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=QUICKLY)])
    for ref in (first, second):
        server.want(ref)
        server.healthy(ref, good=True)
    server.requests.clear()
    server.want(first)
    server.healthy(first)
    assert (body(port), server.requests) == ("one", [])
    server.want(second)
    server.healthy(second)
    assert (body(port), server.requests) == ("two", [])


def test_the_same_content_under_another_name_restarts_nothing(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    service = web(port=port, health=QUICKLY)
    first = server.release({"web.py": web_code("one")}, [service])
    server.want(first)
    pid = server.healthy(first, good=True).services[0].pid
    server.requests.clear()
    again = server.release({"web.py": web_code("one")}, [service])
    server.want(again)
    report = server.healthy(again)
    assert (report.services[0].pid, server.requests) == (pid, [])


def test_every_kind_of_check_decides(server: AgentServer, robot: AgentRobot, tmp_path: Path) -> None:
    port = free_port()
    flag = tmp_path / "ready"
    checks = (
        HttpCheck(path="/", interval_s=0.2),
        TcpCheck(interval_s=0.2),
        CommandCheck(run=("test", "-e", str(flag)), interval_s=0.2),
        ProcessCheck(settle_s=0.2),
    )
    robot.start()
    ref = server.release({"web.py": web_code("one")}, [web(port=port, health=checks)])
    server.want(ref)
    server.until(
        lambda: server.reports and any(service.detail for service in server.reports[-1].services),
        "the command's failure is told",
    )
    running = server.reports[-1].running
    assert running is not None and not running.healthy
    assert body(port) is None  # nobody is sent to what is not ready
    flag.touch()
    server.healthy(ref)
    assert body(port) == "one"


def test_a_service_is_given_what_the_contract_says(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    (robot.root / "etc/lekiwi/robot.env").write_text("# mine\nexport API_KEY='abc def'\nOTHER=hidden\nnot a line\n")
    show = "import json, os, sys\nprint(json.dumps([os.getcwd(), dict(os.environ), sys.executable]), flush=True)\nimport time\ntime.sleep(1000)\n"
    service = Service(
        name="show",
        run=("python3", "../show.py"),
        folder="code/sub",
        content="a" * 64,
        port=port,
        env=("API_KEY", "MISSING"),
        health=(ProcessCheck(settle_s=0.0),),
    )
    robot.start()
    ref = server.release({"show.py": show, "sub/keep": "x"}, [service])
    server.want(ref)
    server.healthy(ref)
    line = server.until(lambda: server.texts("show"), "it says what it was given")[0]
    folder, given, executable = json.loads(line)
    slot = robot.root / f"opt/lekiwi/deployments/{ref.id}"
    assert folder == str(slot / "code/sub")
    assert given["API_KEY"] == "abc def"
    assert "OTHER" not in given and "MISSING" not in given
    assert (given["LEKIWI_PORT"], 24000 <= int(given["PORT"]) < 28000) == (str(port), True)
    assert given["PYTHONUNBUFFERED"] == "1"
    assert (given["LEKIWI_ROBOT"], given["LEKIWI_DEPLOYMENT"]) == ("lekiwi-001", ref.id)
    assert (given["LEKIWI_VERSION"], given["LEKIWI_SERVICE"]) == (ref.version, "show")
    assert given["LEKIWI_STATE"] == str(robot.root / "var/lib/lekiwi/state/show")
    assert Path(given["LEKIWI_STATE"]).is_dir()
    assert str(robot.root / "var/lib/lekiwi-agent/bin") in given["PATH"].split(":")
    assert Path(executable).exists()
    texts = server.until(
        lambda: [event.text for event in server.events.values() if "MISSING" in event.text], "a warning"
    )
    assert "started without MISSING" in texts[0]


def test_two_services_are_switched_at_the_same_time(server: AgentServer, robot: AgentRobot) -> None:
    slow = (
        "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: (time.sleep(1.0), exit(0)))\ntime.sleep(1000)\n"
    )
    health = (ProcessCheck(settle_s=0.0),)

    def two(content: str) -> list[Service]:
        run = ("python3", "slow.py")
        return [
            Service(name=name, run=run, content=content * 64, health=health, stop_grace_s=5.0)
            for name in ("left", "right")
        ]

    robot.start()
    first, second = server.release({"slow.py": slow}, two("a")), server.release({"slow.py": slow}, two("b"))
    server.want(first)
    server.healthy(first, good=True)
    server.want(second)
    report = server.healthy(second)
    assert report.outcome is not None and report.outcome.restarted == ("left", "right")
    assert report.outcome.switch_ms is not None and report.outcome.switch_ms < 1900


def test_only_so_many_deployments_are_kept_and_only_two_trees(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    refs = []
    for number in range(6):
        ref = server.release({"data": f"{number}" * 100, "same": "x"}, [])
        server.want(ref, max_deployments=3, policy=TrialPolicy(trial_s=0.01))
        server.healthy(ref, good=True)
        refs.append(ref)
    deployments = robot.root / "opt/lekiwi/deployments"
    eventually(
        "three are kept", lambda: sorted(path.name for path in deployments.iterdir()) == [ref.id for ref in refs[3:]]
    )
    eventually(
        "two are laid out",
        lambda: (
            sorted(path.name for path in deployments.iterdir() if (path / "code").exists())
            == [ref.id for ref in refs[4:]]
        ),
    )
    objects = robot.root / "opt/lekiwi/objects"
    eventually(
        "objects that nothing needs are gone", lambda: len([p for p in objects.glob("??/*") if p.is_file()]) == 4
    )
    server.requests.clear()
    server.want(refs[3], max_deployments=3)
    server.healthy(refs[3])
    assert server.requests == []


def test_a_newer_wish_replaces_one_that_is_on_trial(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    never = server.release({"web.py": "import time\ntime.sleep(1000)\n"}, [web(port=port, content="1", health=QUICKLY)])
    server.want(never)
    server.until(lambda: robot.current() == never.id, "it is switched to")
    ref = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=QUICKLY)])
    server.want(ref)
    report = server.healthy(ref)
    assert body(port) == "two"
    assert report.quarantined == ()


def test_an_older_generation_and_an_older_epoch_are_refused(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    first, second = server.release({"data": "1"}, []), server.release({"data": "2"}, [])
    server.want(first)
    server.healthy(first)
    server.want(second)
    server.healthy(second)
    server.want(first, generation=1)
    server.want(first, generation=9, epoch=0)
    refusals = server.until(
        lambda: [event for event in server.events.values() if event.kind == "refused"][1:], "both are refused"
    )
    assert "older" in refusals[0].text
    assert robot.current() == second.id


def test_a_robot_that_was_off_comes_back_and_converges(server: AgentServer, robot: AgentRobot) -> None:
    port = free_port()
    robot.start()
    first = server.release({"web.py": web_code("one")}, [web(port=port, content="1", health=QUICKLY)])
    server.want(first)
    server.healthy(first, good=True)
    assert robot.stop() == 0
    assert robot.processes() == []
    for number in range(2, 5):
        newest = server.release(
            {"web.py": web_code(f"{number}")}, [web(port=port, content=f"{number}", health=QUICKLY)]
        )
        server.want(newest)
    robot.start()
    server.healthy(newest)
    assert body(port) == "4"


def test_byte_code_that_the_server_could_not_make_is_made_here(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    tree = PlatformTree(content="d" * 64, byte_compiled=False)
    ref = server.release({"one.py": "x = 1\n", "two.py": "not python ("}, [], platforms={machine.platform().key: tree})
    server.want(ref)
    server.healthy(ref)
    code = robot.root / f"opt/lekiwi/deployments/{ref.id}/code"
    assert [path.name.split(".")[0] for path in code.glob("__pycache__/*.pyc")] == ["one"]


def test_what_was_not_built_for_this_machine_is_told(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    tree = {"linux-riscv64-glibc2.36-py3.9": PlatformTree(content="d" * 64)}
    ref = server.release({"data": "1"}, [], platforms=tree)
    server.want(ref)
    server.until(lambda: server.requests, "it asks for it")
    server.until(lambda: server.reports and server.reports[-1].waiting, "it says why not")
    assert robot.current() is None


def test_a_robot_with_a_small_disk_keeps_fewer(server: AgentServer, robot: AgentRobot) -> None:
    refused = robot.command("join", server.url, "--token", "any", "--again", "--max-deployments", "1")
    assert (refused.returncode, "at least 2" in refused.stderr) == (2, True)
    server.joins = 0
    again = robot.command("join", server.url, "--token", server.join_token, "--again", "--max-deployments", "2")
    assert again.returncode == 0, again.stderr
    robot.start()
    refs = []
    for number in range(4):
        refs.append(server.release({"data": str(number)}, []))
        server.want(refs[-1], policy=TrialPolicy(trial_s=0.01))
        server.healthy(refs[-1], good=True)
    deployments = robot.root / "opt/lekiwi/deployments"
    eventually(
        "two are kept", lambda: sorted(path.name for path in deployments.iterdir()) == [ref.id for ref in refs[2:]]
    )
