"""Downloads that break, are damaged, or do not fit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.wire.manifest import HttpCheck

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=3.0),)


def test_a_broken_download_goes_on_where_it_was(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    ref = server.release({"big.bin": os.urandom(3_000_000)}, [])
    server.faults.cut_after = [500_000, 700_000, 900_000]
    server.want(ref)
    server.healthy(ref)
    resumed = [int(request.split()[-1]) for request in server.requests if request.startswith("resume")]
    assert len(resumed) == 3
    assert resumed == sorted(resumed)
    assert resumed[0] > 300_000


def test_an_agent_that_died_goes_on_where_it_was(server: AgentServer, robot: AgentRobot) -> None:
    ref = server.release({f"f{n}.bin": os.urandom(1_000_000) for n in range(4)}, [])
    server.faults.cut_after = [3_500_000]
    robot.start(LEKIWI_FAILPOINT="fetch.after")
    server.want(ref)
    robot.died()
    robot.start()
    server.healthy(ref)
    server.faults.cut_after = [3_000_000, *([0] * 40)]
    second = server.release({f"g{n}.bin": os.urandom(1_000_000) for n in range(4)}, [])
    server.want(second)
    part = eventually(
        "some of it is kept", lambda: list((robot.root / "var/lib/lekiwi-agent/downloads").glob("*.part"))
    )[0]
    eventually("about three quarters", lambda: part.stat().st_size > 2_500_000)
    robot.kill()
    server.requests.clear()
    server.faults.cut_after = []
    robot.start()
    server.healthy(second)
    assert any(request.startswith("resume at") and int(request.split()[-1]) > 2_500_000 for request in server.requests)
    eventually("nothing is left over", lambda: not part.exists())


def test_a_newer_wish_ends_a_download_that_does_not_get_on(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    large = server.release({"big.bin": os.urandom(2_000_000)}, [])
    server.faults.cut_after = [300_000, *([0] * 40)]
    server.want(large)
    server.until(lambda: len(server.requests) > 2, "it tries again and again")
    small = server.release({"data": "1"}, [])
    server.faults.cut_after = []
    server.want(small)
    server.healthy(small)
    deployments = robot.root / "opt/lekiwi/deployments"
    assert [path.name for path in deployments.iterdir()] == [small.id]


def test_damaged_content_is_never_started(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    first = server.release({"data": "1" * 1000}, [])
    server.want(first)
    server.healthy(first, good=True)
    for size in (100, 50_000):
        server.faults.corrupt = 1
        data = os.urandom(size)
        second = server.release({"data": data}, [])
        server.want(second)
        server.healthy(second)
        assert server.faults.corrupt == 0
        assert (robot.root / f"opt/lekiwi/deployments/{second.id}/code/data").read_bytes() == data


def test_a_server_in_trouble_is_waited_for_with_the_reason(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.faults.status = 503
    ref = server.release({"data": "1"}, [])
    server.want(ref)
    report = server.until(
        lambda: next((r for r in server.reports if r.waiting and type(r.waiting[0]).__name__ != "Fetching"), None),
        "it says why it waits",
    )
    assert type(report.waiting[0]).__name__ == "Retrying"
    server.faults.status = None
    server.healthy(ref)


def test_an_expired_ticket_is_replaced(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    server.faults.bad_tickets = True
    ref = server.release({"data": "1"}, [])
    server.want(ref)
    server.healthy(ref)


def test_what_the_server_does_not_have_is_told_as_failed(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    ref = server.release({"data": "1"}, [])
    server._manifests.clear()
    server.want(ref)
    report = server.outcome(ref, "failed")
    assert report.outcome is not None and "cannot be fetched" in (report.outcome.why or "")


def test_a_lost_object_is_fetched_again_by_itself(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    first = server.release({"a": os.urandom(5000), "b": os.urandom(5000)}, [])
    second = server.release({"c": "2"}, [])
    for ref in (first, second, server.release({"d": "3"}, [])):
        server.want(ref)
        server.healthy(ref, good=True)
    eventually("its tree is gone", lambda: not (robot.root / f"opt/lekiwi/deployments/{first.id}/code").exists())
    objects = robot.root / "opt/lekiwi/objects"
    lost = next(path for path in objects.glob("??/*") if path.stat().st_size == 5000)
    lost.unlink()
    server.requests.clear()
    server.want(first)
    server.healthy(first)
    assert server.requests == ["POST /content/objects"]


@pytest.fixture
def small_disk(server: AgentServer, tmp_path: Path) -> Iterator[AgentRobot]:
    """A robot whose disk has 24 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mount = tmp_path / "disk"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", mount], check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    robot = AgentRobot(mount / "robot", server)
    robot.output = tmp_path / "robot.log"
    try:
        robot.join()
        yield robot
    finally:
        robot.end()
        subprocess.run(["umount", "-l", mount], check=False)


@pytest.mark.root
def test_on_a_full_disk_the_old_one_keeps_running_and_says_why(server: AgentServer, small_disk: AgentRobot) -> None:
    port = free_port()
    small_disk.start()
    first = server.release({"web.py": web_code("one")}, [web(port=port, content="1", health=QUICKLY)])
    server.want(first)
    server.healthy(first, good=True)
    large = server.release({"large.bin": os.urandom(30_000_000)}, [])
    server.want(large)
    report = server.until(
        lambda: next((r for r in server.reports if r.waiting and type(r.waiting[0]).__name__ == "DiskFull"), None),
        "it says that the disk is full",
    )
    assert report.waiting[0].needed > report.waiting[0].free > 0
    assert report.running is not None and report.running.healthy
    assert body(port) == "one"
    small = server.release({"web.py": web_code("two")}, [web(port=port, content="2", health=QUICKLY)])
    server.want(small)
    server.healthy(small)
    assert body(port) == "two"


@pytest.mark.root
def test_old_deployments_make_room_for_a_new_one(server: AgentServer, small_disk: AgentRobot) -> None:
    small_disk.start()
    for _ in range(6):
        ref = server.release({"large.bin": os.urandom(4_000_000)}, [])
        server.want(ref)
        server.healthy(ref, good=True, within_s=40)


@pytest.mark.root
def test_a_disk_that_fills_up_completely_costs_neither_the_service_nor_the_way_back(
    server: AgentServer, small_disk: AgentRobot
) -> None:
    port = free_port()
    small_disk.start()
    refs = [
        server.release({"web.py": web_code(text)}, [web(port=port, content=text, health=QUICKLY)])
        for text in ("one", "two")
    ]
    for ref in refs:
        server.want(ref)
        server.healthy(ref, good=True)
    filler = small_disk.root.parent / "filler"
    with pytest.raises(OSError), filler.open("wb") as file:
        while True:
            file.write(b"x" * 4096)
            file.flush()
    assert body(port) == "two"
    server.want(refs[0])
    server.healthy(refs[0])
    assert body(port) == "one"
    filler.unlink()
    server.want(refs[1])
    server.healthy(refs[1])
