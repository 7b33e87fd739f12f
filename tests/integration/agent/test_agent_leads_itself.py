"""Private ports: whose they are, and services that an older agent started on their public one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from agent_robot import AgentRobot, body, eventually, free_port, web_code
from agent_server import AgentServer, web

from lekiwi_deploy.agent.whose_port import is_strangers
from lekiwi_deploy.wire.link import SwitchKind
from lekiwi_deploy.wire.manifest import HttpCheck, Service

QUICKLY = (HttpCheck(path="/", interval_s=0.1, within_s=5.0),)


def test_a_port_is_its_own_or_a_strangers() -> None:
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(99)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    sleeper = subprocess.Popen(["sleep", "100"], env={"WHO": "sleeper"})
    assert holder.stdout is not None
    try:
        port = int(holder.stdout.readline())
        assert not is_strangers(port, holder.pid, "NO=SUCH")
        assert not is_strangers(port, os.getpid(), "NO=SUCH")  # a child's
        assert is_strangers(port, sleeper.pid, "WHO=sleeper")
        assert not is_strangers(free_port(), sleeper.pid, "WHO=sleeper")  # nobody's
    finally:
        for program in (holder, sleeper):
            program.kill()
            program.wait()
        holder.stdout.close()


def test_a_worker_that_left_its_parent_is_still_the_instances() -> None:
    code = (
        "import os, socket, sys, time\n"
        "s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork(): os._exit(0)\n    time.sleep(100)\n"
        "s.close(); print(os.getpid(), flush=True); time.sleep(100)"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "WHO": "workers"}, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    port = int(program.stdout.readline())
    program.stdout.readline()
    try:
        eventually("it has left", lambda: is_strangers(port, program.pid, "WHO=others"))
        assert not is_strangers(port, program.pid, "WHO=workers")
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
        for name in os.listdir("/proc"):  # noqa: PTH208
            if name.isdecimal():
                try:
                    with open(f"/proc/{name}/environ", "rb") as file:  # noqa: PTH123
                        if b"WHO=workers" in file.read().split(b"\0"):
                            os.kill(int(name), 9)
                except OSError:
                    continue


def test_a_service_of_an_older_agent_keeps_its_public_port_until_it_is_replaced(
    server: AgentServer, robot: AgentRobot
) -> None:
    port = free_port()

    def version(text: str) -> Service:
        return web(port=port, content=text, health=QUICKLY)

    robot.start()
    first = server.release({"web.py": web_code("one")}, [version("one")])
    server.want(first)
    server.healthy(first, good=True)
    robot.kill()
    # as an agent without private ports left it: the service has the public port, and its record says nothing of it
    (path,) = (robot.root / "var/lib/lekiwi-agent/processes").glob("*.json")
    record = json.loads(path.read_bytes())
    robot.end()
    slot = robot.root / f"opt/lekiwi/deployments/{first.id}/code"
    environment = {**os.environ, "PORT": str(port), "LEKIWI_STATE": str(robot.root / "var/lib/lekiwi/state/web")}
    old = subprocess.Popen([sys.executable, "-u", "web.py"], cwd=slot, env=environment, start_new_session=True)
    try:
        eventually("it serves", lambda: body(port) == "one")
        with open(f"/proc/{old.pid}/stat", "rb") as file:  # noqa: PTH123
            ticks = int(file.read().rpartition(b")")[2].split()[19])
        del record["port"], record["told"]
        record |= {"pid": old.pid, "ticks": ticks, "family": f"LEKIWI_STATE={environment['LEKIWI_STATE']}"}
        path.unlink(missing_ok=True)
        (path.parent / "web.json").write_text(json.dumps(record))
        robot.start()
        server.until(lambda: len(server.hellos) == 2, "it is back")
        assert server.healthy(first).services[0].pid == old.pid
        second = server.release({"web.py": web_code("two")}, [version("two")])
        server.want(second)
        report = server.healthy(second)
        assert report.outcome is not None
        (switch,) = report.outcome.switches
        assert (switch.kind, switch.why) == (SwitchKind.COLD, f"the version before listens on port {port} itself")
        assert body(port) == "two"
    finally:
        old.kill()
        old.wait()
