"""What services write on a real robot comes into the log spool: all of it, once, whoever watches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from robots_world import Machines
from supervised_robot import Driven, prepared

from lekiwi_deploy.testing.machine import Machine


@pytest.fixture
def robot(machines: Machines) -> Machine:
    machine = prepared(machines("kiwi"))
    machine.boot()
    return machine


@pytest.fixture
def agent(robot: Machine) -> Iterator[Driven]:
    driven = Driven(robot)
    yield driven
    driven.do("stop_all")
    driven.leave()


def texts(agent: Driven, service: str) -> list[str]:
    return [line["text"] for line in agent.do("lines") if line["service"] == service]


def test_lines_say_which_service_and_deployment_they_are_of(agent: Driven) -> None:
    one = agent.start(
        "web", ["sh", "-c", "echo ERROR: bad; echo '<4>careful'; printf '\\033[31mred\\033[0m\\n'; sleep 1000"]
    )
    agent.said("red")
    two = agent.start("base", ["sh", "-c", "echo hello; sleep 1000"], deployment="dep_bbbbbbbb")
    agent.said("hello")
    lines: list[dict[str, Any]] = agent.do("lines")
    found = [(line["service"], line["deployment"], line["text"], line["level"]) for line in lines]
    assert found == [
        ("web", "dep_aaaaaaaa", "ERROR: bad", "error"),
        ("web", "dep_aaaaaaaa", "careful", "warning"),
        ("web", "dep_aaaaaaaa", "red", None),
        ("base", "dep_bbbbbbbb", "hello", None),
    ]
    assert agent.do("last_lines", instance=one) == ["ERROR: bad", "careful", "red"]
    assert agent.do("last_lines", instance=two) == ["hello"]


def test_nothing_is_lost_or_told_twice_while_there_is_no_agent(agent: Driven) -> None:
    agent.python(
        "web", "import time\nfor n in range(2000):\n print(n); time.sleep(0.001)\nprint('end'); time.sleep(1000)"
    )
    agent.said("100")
    agent.kill()
    agent.begin()
    agent.said("500")
    agent.leave()
    agent.begin()
    agent.said("end")
    assert texts(agent, "web") == [str(n) for n in range(2000)] + ["end"]


def test_the_last_words_of_a_program_that_fails_are_at_hand(agent: Driven) -> None:
    agent.python("web", "raise ValueError('the reason')")
    agent.until("any(kind == 'exited' for kind, _ in notes)")
    assert "ValueError: the reason" in agent.do("last_lines", instance="web-aaaaaaaa")


def test_more_than_the_journal_takes_is_said_to_be_lost(agent: Driven) -> None:
    agent.python("web", "import time\nfor n in range(30000): print(n)\ntime.sleep(1); print('end')\ntime.sleep(1000)")
    agent.running("web-aaaaaaaa")
    agent.until("any('lines of output lost' in line['text'] or line['text'] == '29999' for line in lines())", 60)
