"""What a machine that has nothing yet is given, over HTTP and without a token."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from served_app import serving

from lekiwi_deploy.server.agent_bundle.dependencies import Dependencies
from lekiwi_deploy.server.agent_bundle.shelf import AgentBundles
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.http.app import build_app

PI = "linux-aarch64-glibc2.36-py3.11"
SCRIPT = files("lekiwi_deploy.server.agent_bundle").joinpath("install.sh")


def nothing_needed(folder: Path) -> Dependencies:
    """As if everything had been fetched, and that was nothing."""
    found = Dependencies(folder, (), "")
    (found.home / "linux-aarch64-glibc2.34-py3.11").mkdir(parents=True, exist_ok=True)
    (found.home / "all.txt").write_text("")
    return found


@pytest.fixture
async def machine(context: Context) -> AsyncIterator[httpx.AsyncClient]:
    """Asks without a token."""
    bundles = AgentBundles(context.config.data / "agent", context.now, dependencies=nothing_needed)
    async with (
        serving(build_app(replace(context, agent_bundles=bundles))) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        yield client


async def test_the_script_names_the_server_as_it_was_asked(machine: httpx.AsyncClient) -> None:
    answer = await machine.get("/install.sh", headers={"host": "deploy.example.org:8080"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/x-shellscript")
    assert (
        "server='http://deploy.example.org:8080'" in answer.text
        or "server=http://deploy.example.org:8080" in answer.text
    )
    assert "@SERVER@" not in answer.text


async def test_no_host_header_can_put_a_command_into_the_script(machine: httpx.AsyncClient) -> None:
    answer = await machine.get("/install.sh", headers={"host": "x'; rm -rf /; '"})
    assert "rm -rf /;" not in answer.text


async def test_a_bundle_is_what_the_server_says_it_is(machine: httpx.AsyncClient) -> None:
    release = (await machine.get("/agent")).json()
    told = (await machine.get(f"/agent/{PI}")).json()
    answer = await machine.get(f"/agent/{PI}/bundle")
    assert hashlib.sha256(answer.content).hexdigest() == told["digest"]
    assert answer.headers["etag"] == f'"{told["digest"]}"'
    assert told["release"] == release["release"] == answer.headers["x-lekiwi-release"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as bundle:
        assert hashlib.sha256(bundle.read("lock.txt")).hexdigest() == release["lock"]


async def test_a_download_goes_on_where_it_ended_and_is_not_made_twice(machine: httpx.AsyncClient) -> None:
    whole = await machine.get(f"/agent/{PI}/bundle")
    tag = whole.headers["etag"]
    rest = await machine.get(f"/agent/{PI}/bundle", headers={"range": "bytes=1000-", "if-range": tag})
    assert (rest.status_code, rest.content) == (206, whole.content[1000:])
    assert rest.headers["content-range"] == f"bytes 1000-{len(whole.content) - 1}/{len(whole.content)}"
    other = await machine.get(f"/agent/{PI}/bundle", headers={"range": "bytes=1000-", "if-range": '"other"'})
    assert other.status_code == 200
    beyond = await machine.get(f"/agent/{PI}/bundle", headers={"range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416
    same = await machine.get(f"/agent/{PI}/bundle", headers={"if-none-match": tag})
    assert (same.status_code, same.content) == (304, b"")


@pytest.mark.parametrize(
    ("platform", "status", "words"),
    [("nonsense", 400, "names no platform"), ("linux-x86_64-glibc2.36-py3.9", 404, "needs Python 3.11")],
)
async def test_a_platform_without_an_agent_is_told_so(
    machine: httpx.AsyncClient, platform: str, status: int, words: str
) -> None:
    answer = await machine.get(f"/agent/{platform}/bundle")
    assert answer.status_code == status
    assert words in answer.json()["message"]


def test_the_script_is_portable_shell() -> None:
    text = SCRIPT.read_text()
    assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    assert re.search(r'\nmain "\$@"\n\Z', text), "half a download does nothing"
    checker = shutil.which("shellcheck")
    if checker is not None:
        done = subprocess.run([checker, "-"], input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--tokn", "x"], "unknown option --tokn"), (["--token"], "")],
)
def test_the_script_says_what_is_wrong_with_its_options(arguments: list[str], words: str) -> None:
    done = subprocess.run(
        ["sh", "-s", "--", *arguments], input=SCRIPT.read_text(), text=True, capture_output=True, check=False,
        env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
