"""What the agent and the relay say to each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.traffic.relay_words import read_targets, targets_line

PORTS = st.integers(1, 65535)


@given(st.dictionaries(PORTS, PORTS, max_size=40))
def test_targets_come_back_as_they_were_said(targets: dict[int, int]) -> None:
    line = targets_line("lead", targets)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    verb, *words = line.decode().split()
    assert (verb, read_targets(words)) == ("lead", targets)


def test_the_same_targets_are_the_same_line() -> None:
    assert targets_line("ok", {2: 3, 1: 4}) == targets_line("ok", {1: 4, 2: 3}) == b"ok 1:4 2:3\n"


@pytest.mark.parametrize(
    "word", ["8000", "8000:", ":1", "a:1", "1:0", "0:1", "65536:1", "1:65536", "-1:2", "1:2:3", "٣:4", "1.0:2", ""]
)
def test_what_is_no_pair_of_ports_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        read_targets([word])


def test_a_public_port_leads_to_one_place() -> None:
    with pytest.raises(ValueError):
        read_targets(["1:2", "1:3"])


@given(st.lists(st.text(max_size=20), max_size=5))
def test_any_words_are_targets_or_refused(words: list[str]) -> None:
    try:
        targets = read_targets(words)
    except ValueError:
        return
    assert all(0 < port < 65536 for pair in targets.items() for port in pair)
