"""What services write reaches the server once, in order, whatever they write."""

from __future__ import annotations

from agent_robot import AgentRobot, eventually
from agent_server import AgentServer

from lekiwi_deploy.wire.manifest import ProcessCheck, Service

ALIVE = (ProcessCheck(settle_s=0.0),)


def talker(code: str, content: str = "a") -> tuple[dict[str, str], list[Service]]:
    service = Service(
        name="talk", run=("python3", "-u", "talk.py"), content=content * 64, health=ALIVE, stop_grace_s=1.0
    )
    return {"talk.py": code}, [service]


def test_lines_arrive_in_order_with_their_deployment(server: AgentServer, robot: AgentRobot) -> None:
    robot.start()
    ref = server.release(*talker("for n in range(500): print('line', n)\nimport time\ntime.sleep(1000)\n"))
    server.want(ref)
    server.until(lambda: len(server.texts("talk")) == 500, "all lines came")
    assert server.texts("talk") == [f"line {n}" for n in range(500)]
    lines = [line for line in server.logs.values() if line.service == "talk"]
    assert {line.deployment for line in lines} == {ref.id}
    assert sorted(server.logs) == list(range(1, len(server.logs) + 1))


def test_odd_output_is_made_readable(server: AgentServer, robot: AgentRobot) -> None:
    code = (
        "import sys, time\nw = sys.stdout.buffer.write\n"
        r"w(b'\x1b[31mred\x1b[0m\n'); w(b'bad \xff utf\n'); w(b'\x1b]0;title\x07bell\x07\n'); w(b'ERROR it broke\n')"
        "\nw(b'x' * 100_000 + b'\\n'); w(b'no end'); sys.stdout.flush()\ntime.sleep(1000)\n"
    )
    robot.start()
    ref = server.release(*talker(code))
    server.want(ref)
    texts = server.until(lambda: server.texts("talk") if len(server.texts("talk")) >= 5 else None, "five lines")
    assert texts[:4] == ["red", "bad \ufffd utf", "bell\ufffd", "ERROR it broke"]
    assert texts[4].startswith("x" * 16_000) and texts[4].endswith("84000 bytes more")
    assert next(line for line in server.logs.values() if line.text == "ERROR it broke").level == "error"
    nothing = server.release({"data": "1"}, [])
    server.want(nothing)
    server.until(lambda: server.texts("talk")[-1] == "no end", "the unfinished line came at the end")


def test_a_line_of_100_mb_neither_fills_memory_nor_disk(server: AgentServer, robot: AgentRobot) -> None:
    import psutil

    code = "import sys, time\nfor _ in range(100): sys.stdout.write('y' * 1_000_000)\nprint()\nprint('after')\ntime.sleep(1000)\n"
    robot.start()
    ref = server.release(*talker(code))
    server.want(ref)
    server.until(lambda: server.texts("talk")[-1:] == ["after"], "the line after it came", within_s=40)
    assert len("".join(server.texts("talk"))) < 100_000
    assert robot.process is not None
    assert psutil.Process(robot.process.pid).memory_info().rss < 80_000_000
    log = robot.root / "var/log/lekiwi"
    eventually("the file was cut", lambda: sum(path.stat().st_size for path in log.iterdir()) < 20_000_000)


def test_nothing_is_lost_or_doubled_while_the_server_is_away_and_the_agent_dies(
    server: AgentServer, robot: AgentRobot
) -> None:
    code = "import time\nn = 0\nwhile True:\n    print('n', n)\n    n += 1\n    time.sleep(0.005)\n"
    robot.start()
    ref = server.release(*talker(code))
    server.want(ref)
    server.healthy(ref, good=True)
    for _ in range(2):
        count = len(server.texts("talk"))
        server.until(lambda: len(server.texts("talk")) > count + 20, "lines come")  # noqa: B023
        server.stop()
        robot.kill()
        robot.start()
        (log,) = (robot.root / "var/log/lekiwi").glob("talk-*.log")
        size = log.stat().st_size
        eventually("it goes on talking", lambda: log.stat().st_size > size + 200)  # noqa: B023
        server.start()
        server.until(lambda: server.linked, "it is back")
    count = len(server.texts("talk"))
    server.until(lambda: len(server.texts("talk")) > count + 20, "lines come")
    texts = server.texts("talk")
    assert texts == [f"n {number}" for number in range(len(texts))]


def test_events_are_kept_until_they_are_acknowledged(server: AgentServer, robot: AgentRobot) -> None:
    server.ack_records = False
    robot.start()
    ref = server.release({"data": "1"}, [])
    server.want(ref)
    server.healthy(ref, good=True)
    server.until(lambda: server.events, "events came")
    robot.kill()
    server.ack_records = True
    robot.start()
    server.until(lambda: "good" in {event.kind for event in server.events.values()}, "all came")
    assert sorted(server.events) == list(range(1, len(server.events) + 1))
    kinds = [server.events[number].kind for number in sorted(server.events)]
    assert kinds.index("activated") < kinds.index("outcome") < kinds.index("good")
