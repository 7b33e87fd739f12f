"""The one port: which addresses it can have, and the URLs that lead to it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.listener import listen


def test_any_port_gets_a_number_that_the_urls_name() -> None:
    listener, config = listen(Config(data=Path("/d"), port=0))
    with listener:
        port = listener.getsockname()[1]
        assert (config.url, config.local_url, config.port) == (
            f"http://127.0.0.1:{port}",
            f"http://127.0.0.1:{port}",
            port,
        )
        socket.create_connection(("127.0.0.1", port)).close()


def test_all_addresses_are_reached_by_loopback_from_here_and_by_the_given_url_from_elsewhere() -> None:
    listener, config = listen(Config(data=Path("/d"), host="0.0.0.0", port=0, url="https://deploy.example.org"))
    with listener:
        assert config.url == "https://deploy.example.org"
        assert config.local_url == f"http://127.0.0.1:{config.port}"
    listener, config = listen(Config(data=Path("/d"), host="0.0.0.0", port=0))
    with listener:
        assert "0.0.0.0" not in config.url


def test_an_ipv6_address_stands_in_brackets() -> None:
    try:
        listener, config = listen(Config(data=Path("/d"), host="::1", port=0))
    except Failed:
        pytest.skip("this machine has no IPv6")
    with listener:
        assert config.url == config.local_url == f"http://[::1]:{config.port}"


def test_an_address_that_is_not_of_this_machine_is_told() -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        with pytest.raises(Failed, match=host.partition(".")[0]):
            listen(Config(data=Path("/d"), host=host, port=0))
