"""The machines that other tests here stand on."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from robots_world import Machines

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_agent import install_agent
from lekiwi_deploy.testing.machine_needs import cache_folder, unified_hierarchy
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.machine_ssh import let_in, make_key, options
from lekiwi_deploy.testing.waiting import eventually


def test_systemd_runs_and_nothing_failed(machine: Machine) -> None:
    assert machine.run("systemctl", "is-system-running").stdout == "running\n"
    assert machine.run("hostname").stdout == "kiwi\n"
    assert machine.run("id", "-un", user="pi").stdout == "pi\n"
    assert "uid=0" not in machine.run("systemd-run", "--pipe", "--wait", "-q", "-p", "DynamicUser=1", "id").stdout
    machine.run("nft", "add", "table", "inet", "test")


def test_a_machine_cannot_set_the_clock_of_its_host(machine: Machine) -> None:
    done = machine.run("date", "-s", "2001-01-01", check=False)
    assert done.returncode != 0 and "not permitted" in done.stderr


def test_machines_reach_the_server_and_not_each_other(machines: Machines, lan: Lan) -> None:
    one, two = machines("one"), machines("two")
    one.boot(wait=False)
    two.boot()
    one.wait_booted()
    ask = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=1).recv(7))"
    with lan.entered():
        server = socket.create_server((lan.address, 0))
        for machine in (one, two):
            with socket.create_connection((machine.address, 22), timeout=5) as talk:
                assert talk.recv(7) == b"SSH-2.0"
    with server:
        port = str(server.getsockname()[1])
        with subprocess.Popen(
            one.command(["python3", "-c", ask, lan.address, port]), stdout=subprocess.PIPE
        ) as talking:
            accepted, address = server.accept()
            accepted.send(b"welcome")
            accepted.close()
            assert (address[0], talking.communicate(timeout=10)[0]) == (one.address, b"b'welcome'\n")
        refused = one.run("python3", "-c", ask, two.address, "22", check=False)
        assert "No route to host" in refused.stderr or "timed out" in refused.stderr
        one.network_down()
        refused = one.run("python3", "-c", ask, lan.address, port, check=False)
        assert "unreachable" in refused.stderr or "timed out" in refused.stderr
        one.network_up()


def test_a_person_with_a_key_may_use_sudo(machines: Machines, lan: Lan, tmp_path: Path) -> None:
    machine = machines("kiwi")
    key = make_key(tmp_path)
    let_in(machine, key=key)
    machine.boot()
    ssh = lan.command(["ssh", *options(machine, tmp_path, key), f"pi@{machine.address}", "sudo", "id", "-u"])
    assert subprocess.run(ssh, capture_output=True, text=True, timeout=20, check=True).stdout == "0\n"


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_a_pulled_plug_loses_what_was_not_flushed_and_nothing_else(machines: Machines, kind: str) -> None:
    machine = machines("kiwi", disk=(kind, 320))
    machine.boot()
    boot = machine.read("/proc/sys/kernel/random/boot_id")
    machine.run(
        "sh", "-c", "mkdir /opt/a && echo kept >/opt/a/kept && sync /opt /opt/a /opt/a/kept && echo lost >/opt/a/lost"
    )
    machine.pull_the_plug()
    machine.boot()
    assert machine.read("/opt/a/kept") == "kept\n"
    assert not machine.path("/opt/a/lost").exists() or machine.read("/opt/a/lost") == ""
    assert machine.read("/proc/sys/kernel/random/boot_id") != boot


def test_a_disk_can_be_full_and_can_fail(machines: Machines) -> None:
    machine = machines("kiwi", disk=("ext4", 64))
    machine.boot()
    assert machine.disk is not None
    hog = machine.disk.fill()
    assert "No space left" in machine.run("sh", "-c", "head -c 100000 /dev/zero >/opt/x", check=False).stderr
    hog.unlink()
    machine.run("sh", "-c", "head -c 100000 /dev/zero >/opt/x")
    machine.disk.fail()
    assert "Read-only file system" in machine.run("sh", "-c", "echo 1 >/opt/y", check=False).stderr
    machine.pull_the_plug()
    machine.boot()
    machine.run("sh", "-c", "echo 1 >/opt/y")


def test_the_agent_of_this_checkout_runs_on_a_machine(machines: Machines) -> None:
    machine = machines("kiwi")
    install_agent(machine)
    machine.boot()
    assert json.loads(machine.run("lekiwi-agent", "version", "--json").stdout)["schema"] == "lekiwi.version/1"


_KILLED = """
import os, sys
from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_leftovers import this_run
from lekiwi_deploy.testing.machine_network import Lan
machine = Machine("kiwi", lan=Lan(), disk=("ext4", 64))
machine.boot()
print(this_run(), machine.init, flush=True)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_test_leaves_is_gone_after_the_next_one_starts(image: object) -> None:
    killed = subprocess.run([sys.executable, "-c", _KILLED], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run, init = killed.stdout.split()
    sweep = "from lekiwi_deploy.testing.machine_leftovers import sweep_once; sweep_once()"
    subprocess.run([sys.executable, "-c", sweep], check=True)
    eventually("the machine has ended", lambda: not Path("/proc", init, "root", "usr").exists())
    assert run not in subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert run not in Path("/proc/self/mounts").read_text()
    assert not (cache_folder() / "runs" / run).exists()
    hierarchy = unified_hierarchy()
    assert hierarchy is not None and not list(hierarchy.glob(f"{run}*"))
