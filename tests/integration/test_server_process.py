"""The whole server as a process: first start, stop, kill -9, a second one, and everything that keeps it from starting."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from server_process import ServerProcess, end_postgres, owner_token, running

pytestmark = pytest.mark.engine


@pytest.fixture
def data(data_dir: Path) -> Iterator[Path]:
    """A DIR; a PostgreSQL that a test left running in it is ended."""
    made = data_dir / "d"
    yield made
    if made.exists():
        end_postgres(made)


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """The URL of a database with nothing in it, on the run's PostgreSQL."""
    name = f"empty_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_url.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_first_start_says_where_it_is_and_how_to_log_in_and_later_ones_do_not(data: Path) -> None:
    with running("--data", str(data), "--port", "0") as server:
        login = server.until("lekiwi login")
        assert shlex.split(login) == ["lekiwi", "login", server.url, "--token-stdin", "<", str(data / "owner-token")]
        assert (data / "owner-token").stat().st_mode & 0o777 == 0o600
        token = owner_token(data)
        assert server.ask("GET", "/api/whoami", token).json()["role"] == "owner"
        assert server.ask("POST", "/api/projects", token, json={"name": "web"}).status_code == 201
        assert token not in "\n".join(server.lines)
        assert server.stop() == 0
    assert not (data / "postgres" / "postmaster.pid").exists()
    with running("--data", str(data), "--port", "0") as server:
        assert server.ask("GET", "/api/projects/web", token).status_code == 200
        assert owner_token(data) == token
        assert not any("login" in line for line in server.lines)
        assert server.stop(signal.SIGINT) == 0
        assert not any("Traceback" in line for line in server.lines)


def test_after_kill_9_everything_that_was_answered_is_there_and_the_same_port_serves(data: Path) -> None:
    with running("--data", str(data), "--port", "0") as server:
        port = server.url.rpartition(":")[2]
        token = owner_token(data) if server.url else ""
        for number in range(5):
            assert server.ask("POST", "/api/projects", token, json={"name": f"p{number}"}).status_code == 201
        server.stop(signal.SIGKILL)
    assert (data / "postgres" / "postmaster.pid").exists()
    with running("--data", str(data), "--port", port) as server:
        assert [project["name"] for project in server.ask("GET", "/api/projects", token).json()] == [
            f"p{number}" for number in range(5)
        ]


def test_a_second_server_on_the_same_dir_is_refused_in_one_line(data: Path) -> None:
    with running("--data", str(data), "--port", "0") as server:
        url = server.url
        second = ServerProcess("--data", str(data), "--port", "0")
        assert second.wait() == 1
        assert f"process {server.process.pid}" in second.lines[0]
        assert len(second.lines) == 1
        assert httpx.get(f"{url}/healthz", trust_env=False).status_code == 200


def test_a_port_in_use_is_told_before_anything_else_happens(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = ServerProcess("--data", str(data), "--port", str(port))
        assert server.wait() == 1
    assert f"port {port}" in server.lines[0]
    assert all("Traceback" not in line for line in server.lines)
    assert not (data / "postgres").exists()


def test_a_dir_that_cannot_be_used_is_told(data_dir: Path) -> None:
    file = data_dir / "file"
    file.write_text("")
    server = ServerProcess("--data", str(file / "d"), "--port", "0")
    assert server.wait() == 1
    assert str(file / "d") in server.lines[0]
    assert all("Traceback" not in line for line in server.lines)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run PostgreSQL under another account")
def test_as_root_a_dir_below_a_closed_folder_is_told_with_what_to_do(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    server = ServerProcess("--data", str(closed / "d"), "--port", "0")
    assert server.wait() == 1
    assert str(closed) in server.lines[0]
    assert any("chmod o+x" in line for line in server.lines)


def test_an_unreachable_database_and_a_wrong_password_are_told_without_the_password(
    data: Path, postgres_url: str
) -> None:
    password = postgres_url.split(":")[2].partition("@")[0]
    for url in ("postgresql://u:topsecret@127.0.0.1:1/x", postgres_url.replace(password, "topsecret")):
        server = ServerProcess("--data", str(data), "--port", "0", environ={"LEKIWI_DATABASE_URL": url})
        assert server.wait() == 1
        assert server.lines[0].startswith("lekiwi server: the database cannot be used")
        assert "topsecret" not in "\n".join(server.lines)
        assert all("Traceback" not in line for line in server.lines)


def test_wrong_options_are_usage_errors(data: Path) -> None:
    for arguments in (("--port", "x"), ("--prot", "1"), ("--store", "ftp://x")):
        assert ServerProcess("--data", str(data), *arguments).wait() == 2
    assert not data.exists()


def test_two_replicas_that_start_together_on_an_empty_database_agree(data_dir: Path, empty_database: str) -> None:
    environ = {"LEKIWI_DATABASE_URL": empty_database}
    content = ("--store", str(data_dir / "content"))
    first_dir, second_dir = data_dir / "1", data_dir / "2"
    with (
        running("--data", str(first_dir), "--port", "0", *content, environ=environ) as first,
        running("--data", str(second_dir), "--port", "0", *content, environ=environ) as second,
    ):
        ids = {httpx.get(f"{server.url}/api/server", trust_env=False).json()["server"] for server in (first, second)}
        assert len(ids) == 1
        assert (first_dir / "owner-token").exists() != (second_dir / "owner-token").exists()
        token = owner_token(first_dir if (first_dir / "owner-token").exists() else second_dir)
        assert first.ask("POST", "/api/projects", token, json={"name": "web"}).status_code == 201
        assert second.ask("GET", "/api/projects/web", token).status_code == 200
        _, ci = (second.ask("GET", "/api/whoami", token), second.ask("POST", "/api/tokens", token, json={"name": "ci"}))
        secret, id = ci.json()["secret"], ci.json()["id"]
        assert first.ask("GET", "/api/whoami", secret).status_code == 200
        assert second.ask("DELETE", f"/api/tokens/{id}", token).status_code == 204
        assert second.ask("GET", "/api/whoami", secret).status_code == 401
        # The other replica hears of it through PostgreSQL, a moment later.
        while first.ask("GET", "/api/whoami", secret).status_code != 401:
            assert first.process.poll() is None
    assert not (first_dir / "postgres").exists()


def test_a_postgresql_that_dies_under_the_server_is_started_again(data: Path) -> None:
    with running("--data", str(data), "--port", "0") as server:
        url, token = server.url, owner_token(data)
        assert server.ask("POST", "/api/projects", token, json={"name": "web"}).status_code == 201
        pid = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        server.until("PostgreSQL ended by itself")
        transport = httpx.HTTPTransport(retries=0)
        with httpx.Client(base_url=url, transport=transport, timeout=20, trust_env=False) as http:
            headers = {"authorization": f"Bearer {token}"}
            while (answer := http.get("/api/projects/web", headers=headers)).status_code != 200:
                assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert http.is_closed
        assert server.stop() == 0


def test_dir_copied_while_stopped_is_the_same_server_elsewhere(data: Path, data_dir: Path) -> None:
    with running("--data", str(data), "--port", "0") as server:
        token = owner_token(data) if server.url else ""
        id = httpx.get(f"{server.url}/api/server", trust_env=False).json()["server"]
        server.ask("POST", "/api/projects", token, json={"name": "web"})
    copy = data_dir / "copy"
    subprocess.run(["cp", "-a", str(data), str(copy)], check=True)
    shutil.rmtree(data)
    with running("--data", str(copy), "--port", "0") as server:
        assert httpx.get(f"{server.url}/api/server", trust_env=False).json()["server"] == id
        assert server.ask("GET", "/api/projects/web", token).status_code == 200


def test_systemd_is_told_when_it_is_ready_and_when_it_stops(data: Path, data_dir: Path) -> None:
    address = data_dir / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(address))
        notified.settimeout(60)
        with running("--data", str(data), "--port", "0", environ={"NOTIFY_SOCKET": str(address)}) as server:
            assert notified.recv(100) == b"READY=1"
            assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200
            assert server.stop() == 0
            assert notified.recv(100) == b"STOPPING=1"


def test_an_open_stream_does_not_keep_the_server_from_stopping(data: Path) -> None:
    with running("--data", str(data), "--port", "0") as server:
        token = owner_token(data) if server.url else ""
        server.ask("POST", "/api/projects", token, json={"name": "web"})
        begun = threading.Event()
        ended = threading.Event()

        def follow() -> None:
            headers = {"authorization": f"Bearer {token}"}
            try:
                with (
                    httpx.Client(trust_env=False, timeout=60) as http,
                    http.stream("GET", f"{server.url}/api/projects/web/logs?follow=1", headers=headers) as answer,
                ):
                    assert answer.status_code == 200
                    begun.set()
                    for _ in answer.iter_raw():
                        pass
            except httpx.TransportError:
                pass
            finally:
                begun.set()
                ended.set()

        thread = threading.Thread(target=follow)
        thread.start()
        assert begun.wait(30)
        assert not ended.is_set()
        assert server.stop() == 0
        assert ended.wait(30)
        thread.join()
        assert not any("Traceback" in line for line in server.lines), server.lines
