"""The relay as the agent sees it: a real process, found and led."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from traffic_world import call, ended, free_port, program, until, who

from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.traffic.relay import RelayTraffic
from lekiwi_deploy.agent.traffic.relay_command import relay_command, relay_environment
from lekiwi_deploy.agent.traffic.relay_link import find
from lekiwi_deploy.agent.traffic.relay_words import targets_line
from lekiwi_deploy.agent.traffic.sock_diag import established
from lekiwi_deploy.errors import Conflict


async def test_a_connection_reaches_the_service_over_both_protocols(relay: RelayTraffic) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        assert relay.targets() == {public: private}
        assert [await who(public, address) for address in ("127.0.0.1", "::1", "127.0.0.9")] == ["v1", "v1", "v1"]


async def test_a_service_that_listens_on_ipv6_only_is_reached(relay: RelayTraffic) -> None:
    public = free_port()
    async with program("six", "::1") as private:
        await relay.lead({public: private})
        assert [await who(public, address) for address in ("127.0.0.1", "::1", "::1")] == ["six"] * 3


async def test_new_connections_go_to_the_new_version_and_old_ones_stay(relay: RelayTraffic) -> None:
    public = free_port()
    async with program("v1") as one, program("v2") as two:
        await relay.lead({public: one})
        early = await call(public)
        await relay.lead({public: two})
        late = await call(public)
        assert (early.name, late.name) == ("v1", "v2")
        assert await early.echo(b"still there") and await late.echo(b"here")
        assert (await relay.connections(one), await relay.connections(two)) == (1, 1)
        await early.close()
        await late.close()
        await until("both are closed", lambda: not established(one) and not established(two))


async def test_several_ports_change_at_once_or_not_at_all(relay: RelayTraffic) -> None:
    first, second = free_port(), free_port()
    async with program("a") as a, program("b") as b:
        await relay.lead({first: a})
        with socket.create_server(("127.0.0.1", 0)) as other:
            occupied = other.getsockname()[1]
            with pytest.raises(Conflict) as refused:
                await relay.lead({first: b, second: b, occupied: b})
        assert f"port {occupied}" in refused.value.message
        assert psutil.Process().name() in refused.value.message and f"process {os.getpid()}" in refused.value.message
        assert relay.targets() == {first: a}
        assert [await who(first), await who(second)] == ["a", "nobody"]
        await relay.lead({first: b, second: a})
        assert [await who(first), await who(second)] == ["b", "a"]


async def test_a_relay_that_got_none_of_its_ports_is_no_loss(relay: RelayTraffic, lost: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        occupied = other.getsockname()[1]
        for _ in range(2):
            with pytest.raises(Conflict):
                await relay.lead({occupied: occupied + 1})
            await until("it has ended", lambda: relay.pid is None)
    assert lost == []
    async with program("v1") as private:
        await relay.lead({occupied: private})
        assert await who(occupied) == "v1"


async def test_a_port_that_is_led_nowhere_any_more_is_free(relay: RelayTraffic) -> None:
    public, other = free_port(), free_port()
    async with program("v1") as private:
        await relay.lead({public: private, other: private})
        await relay.lead({other: private})
        assert await who(public) == "nobody"
        with socket.create_server(("127.0.0.1", public)):
            pass
        await relay.lead({public: private, other: private})
        assert await who(public) == "v1"


async def test_a_service_that_is_down_is_refused_like_one_that_is_not_there(relay: RelayTraffic) -> None:
    public = free_port()
    await relay.lead({public: free_port()})
    assert await who(public) == "nobody"


async def test_the_next_agent_finds_what_is_in_force(relay: RelayTraffic, paths: Paths, lost: list[str]) -> None:
    public = free_port()
    async with program("v1") as one, program("v2") as two:
        await relay.lead({public: one})
        pid = relay.pid
        caller = await call(public)
        await relay.close()  # as when the agent is killed: the line breaks
        assert await who(public) == "v1"
        later = RelayTraffic(paths, lost=lambda: lost.append("later"))
        await later.open()
        assert (later.targets(), later.pid) == ({public: one}, pid)
        await later.lead({public: two})
        assert await who(public) == "v2" and await caller.echo(b"still there")
        await caller.close()
        await later.remove()
    assert lost == []


async def test_a_relay_that_dies_is_noticed_and_led_again(relay: RelayTraffic, lost: list[str]) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        first = relay.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until("the loss is told", lambda: lost)
        assert relay.targets() == {} and lost == ["relay"]
        await relay.open()
        await relay.lead({public: private})
        assert relay.pid != first and await who(public) == "v1"


async def test_nothing_is_left_after_remove(relay: RelayTraffic, paths: Paths, lost: list[str]) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        pid, caller = relay.pid, await call(public)
        await relay.remove()
        assert await caller.reader.read() == b""
        await caller.close()
    assert pid is not None and ended(pid)
    assert await who(public) == "nobody"
    assert not [found for found in paths.run.iterdir() if found.name.startswith("relay")]
    assert lost == [] and relay.targets() == {}


async def test_remove_ends_a_relay_that_an_earlier_agent_left(relay: RelayTraffic, paths: Paths) -> None:
    async with program("v1") as private:
        await relay.lead({free_port(): private})
        pid = relay.pid
        await relay.close()
    await RelayTraffic(paths, lost=lambda: None).remove()
    assert pid is not None
    await until("it is gone", lambda: ended(pid))


async def test_a_relay_without_ports_ends_with_its_last_connection(relay: RelayTraffic, lost: list[str]) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        pid, caller = relay.pid, await call(public)
        assert pid is not None
        await relay.lead({})
        assert await who(public) == "nobody" and await caller.echo(b"not cut")
        assert not ended(pid)
        await caller.close()
        await until("it has ended", lambda: ended(pid))
        await relay.lead({public: private})
        assert await who(public) == "v1"
    assert lost == []


async def test_a_robot_without_ports_has_no_relay(relay: RelayTraffic) -> None:
    await relay.lead({})
    assert relay.pid is None and relay.targets() == {}


async def test_a_relay_whose_folder_vanished_lets_go_of_its_ports(relay: RelayTraffic, paths: Paths) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        pid = relay.pid
        assert pid is not None
        (paths.run / "relay.sock").unlink()
        await relay.close()
        await until("it has ended", lambda: ended(pid))


async def test_a_relay_without_agent_and_services_lets_go_of_its_ports(tmp_path: Path) -> None:
    path, public = tmp_path / "relay.sock", free_port()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        command = (*relay_command(listening.fileno(), path), "0.05")
        process = subprocess.Popen(command, env=relay_environment(), pass_fds=(listening.fileno(),))  # noqa: ASYNC220
    async with program("v1") as private:
        agent = await find(path, lambda link: None)
        assert agent is not None
        assert await agent.ask(targets_line("lead", {public: private})) == "ok"
        agent.close()
        caller = await call(public)
        await asyncio.sleep(0.5)
        assert await caller.echo(b"many looks later") and await who(public) == "v1"
        await caller.close()
    await asyncio.to_thread(process.wait, 10)
    assert await who(public) == "nobody"


async def test_a_deep_folder_is_no_obstacle(tmp_path: Path) -> None:
    paths = Paths(tmp_path / ("d" * 100) / ("e" * 100))
    paths.make()
    relay = RelayTraffic(paths, lost=lambda: None)
    async with program("v1") as private:
        public = free_port()
        await relay.lead({public: private})
        assert await who(public) == "v1"
        await relay.close()
        await relay.open()
        assert relay.targets() == {public: private}
    await relay.remove()


async def test_only_its_own_user_may_lead_it(relay: RelayTraffic, paths: Paths) -> None:
    async with program("v1") as private:
        await relay.lead({free_port(): private})
    assert (paths.run / "relay.sock").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "line", [b"\n", b"lead 1\n", b"lead 1:2:3\n", b"hello you\n", b"connections x\n", b"\xff\xfe\n", b"end now\n"]
)
async def test_words_that_it_does_not_know_change_nothing(relay: RelayTraffic, paths: Paths, line: bytes) -> None:
    public = free_port()
    async with program("v1") as private:
        await relay.lead({public: private})
        stranger = await find(paths.run / "relay.sock", lambda link: None)
        assert stranger is not None
        assert await stranger.ask(line) == "what"
        assert await stranger.greet() and stranger.pid == relay.pid
        stranger.close()
        assert await who(public) == "v1"


async def test_it_is_small(relay: RelayTraffic) -> None:
    async with program("v1") as private:
        await relay.lead({free_port(): private})
        assert psutil.Process(relay.pid).memory_info().rss < 15_000_000


def test_it_loads_nothing_heavy() -> None:
    """Whatever it imports stands in every robot's memory; asyncio alone would double it."""
    code = "import lekiwi_deploy.agent.traffic.relay_process, sys; print(*sorted(sys.modules))"
    command = [sys.executable, "-s", "-S", "-P", "-c", code]
    done = subprocess.run(command, env=relay_environment(), check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert not loaded & {
        "asyncio",
        "json",
        "re",
        "typing",
        "pathlib",
        "dataclasses",
        "contextlib",
        "logging",
        "msgspec",
    }
