"""What the kernel says of a port's sockets, asked in both ways."""

from __future__ import annotations

import os
import socket

import pytest
from traffic_world import call, free_port, program, until

from lekiwi_deploy.agent.traffic import sock_diag
from lekiwi_deploy.agent.traffic.programs import program_of
from lekiwi_deploy.agent.traffic.sock_diag import established, is_loopback, listeners


@pytest.fixture(params=["netlink", "table"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also as on a kernel without sock_diag."""
    if request.param == "table":
        monkeypatch.setattr(sock_diag, "_SOCK_DIAG", 31)  # no such protocol


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.5", "0.0.0.0", "::1", "::"])
def test_a_listener_is_found_with_its_address(way: None, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        (found,) = listeners(server.getsockname()[1])
        assert found.address == address
        assert found.inode == os.fstat(server.fileno()).st_ino
        assert program_of({found.inode}) == f"{_name()} (process {os.getpid()})"


def test_a_port_that_nobody_listens_on_has_no_listener(way: None) -> None:
    assert listeners(free_port()) == () and established(free_port()) == 0


async def test_connections_are_counted_on_the_services_side_only(way: None) -> None:
    async with program("v1", "127.0.0.1", "::1") as port, program("other") as other:
        callers = [await call(port, address) for address in ("127.0.0.1", "::1", "127.0.0.1")]
        strangers = [await call(other)]
        assert (established(port), established(other)) == (3, 1)
        own = callers[0].writer.get_extra_info("sockname")[1]
        assert established(own) == 1 and len(listeners(port)) == 2
        for caller in (*callers, *strangers):
            await caller.close()
        await until("none are left", lambda: established(port) == established(other) == 0)


def test_loopback_is_this_machine_only() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]))
    others = ["0.0.0.0", "::", "10.127.0.1", "192.168.1.127", "::ffff:10.0.0.1", "fe80::1"]
    assert not any(map(is_loopback, others))


def _name() -> str:
    with open("/proc/self/comm") as file:  # noqa: PTH123
        return file.read().strip()
