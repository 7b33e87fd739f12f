"""What a robot does when what it goes back to does not come up either; and what no deployment ever touches."""

from __future__ import annotations

from pathlib import Path

from agent_robot import AgentRobot, eventually
from agent_server import AgentServer

from lekiwi_deploy.wire.link import DeploymentRef
from lekiwi_deploy.wire.manifest import ProcessCheck, Service


def arm(content: str, code: str) -> tuple[dict[str, str], list[Service]]:
    """A release whose only service can only be stopped and started."""
    run = ("python3", "-u", "arm.py")
    service = Service(name="arm", run=run, content=content * 64, health=(ProcessCheck(settle_s=2.0),), stop_grace_s=0.5)
    return {"arm.py": code}, [service]


def fragile(text: str, broken: Path) -> str:
    """A program that does not start any more once `broken` is there."""
    return f"import os, time\nif os.path.exists({str(broken)!r}):\n    os._exit(4)\nprint({text!r})\ntime.sleep(1000)\n"


def breaks(broken: Path) -> str:
    """A program that sees to that."""
    return f"from pathlib import Path\nPath({str(broken)!r}).touch()\nraise SystemExit(3)\n"


def proven(server: AgentServer, *codes: str) -> list[DeploymentRef]:
    """A good deployment of each, one after the other."""
    refs = [server.release(*arm(str(number), code)) for number, code in enumerate(codes, 1)]
    for ref in refs:
        server.want(ref)
        server.healthy(ref, good=True)
    return refs


def test_when_what_it_goes_back_to_is_broken_too_the_newest_good_one_that_starts_runs(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    robot.start()
    first, second = proven(server, "import time\ntime.sleep(1000)\n", fragile("two", broken))
    bad = server.release(*arm("3", breaks(broken)))
    server.want(bad)
    report = server.outcome(bad, "rolled_back", within_s=60.0)
    assert report.outcome is not None and report.outcome.why is not None
    assert f"{second.id}, which ran before, did not come back: arm: exited with code 4, 3 times" in report.outcome.why
    server.healthy(first)
    assert robot.current() == first.id and server.reports[-1].quarantined == (bad.id,)
    broken.unlink()
    server.want(second)  # it was not to blame
    server.healthy(second)


def test_when_none_comes_up_the_one_before_is_started_again_and_again(
    server: AgentServer, robot: AgentRobot, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    robot.start()
    _, second = proven(server, fragile("one", broken), fragile("two", broken))
    bad = server.release(*arm("3", breaks(broken)))
    server.want(bad)
    server.outcome(bad, "failed", within_s=90.0)
    assert robot.current() == second.id
    heard = len(server.texts("arm"))
    broken.unlink()  # somebody plugs the arm in
    eventually("it came up by itself", lambda: "two" in server.texts("arm")[heard:], within_s=60.0)
    assert server.reports[-1].quarantined == (bad.id,)


def test_no_deployment_and_no_rollback_touches_what_a_service_keeps(server: AgentServer, robot: AgentRobot) -> None:
    keeps = robot.root / "var/lib/lekiwi/state/arm"
    keeps.mkdir(parents=True)
    calibration = keeps / "calibration.json"
    calibration.write_text('{"offset": 7}')
    calibration.chmod(0o600)
    (keeps / "maps").mkdir()
    (keeps / "maps" / "lab.pgm").write_bytes(bytes(1000))
    before = {path: path.stat() for path in sorted(keeps.rglob("*"))}

    reads = "import json, os, time\nprint(json.load(open(os.environ['LEKIWI_STATE'] + '/calibration.json')))\ntime.sleep(1000)\n"
    robot.start()
    first, second = server.release(*arm("1", reads)), server.release(*arm("2", reads))
    bad = server.release(*arm("3", "raise SystemExit(1)\n"))
    for ref in (first, second):
        server.want(ref)
        server.healthy(ref, good=True)
    server.want(bad)
    server.outcome(bad, "rolled_back")
    server.want(first, by_hand=True)
    server.healthy(first)
    without = server.release({"data": "1"}, [])  # a release in which there is no arm
    server.want(without, by_hand=True)
    server.healthy(without)
    after = {path: path.stat() for path in sorted(keeps.rglob("*"))}
    assert {path: (s.st_ino, s.st_mtime_ns, s.st_mode, s.st_size) for path, s in after.items()} == {
        path: (s.st_ino, s.st_mtime_ns, s.st_mode, s.st_size) for path, s in before.items()
    }
    assert "{'offset': 7}" in server.texts("arm")
