"""What the server's options mean, and which values are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.config import Config, parse


def _parse(*arguments: str, environ: dict[str, str] | None = None, root: bool = False) -> Config:
    return parse(arguments, environ or {}, root=root, home=Path("/home/anna"), cwd=Path("/somewhere"))


def test_without_options_everything_has_a_default() -> None:
    config = _parse()
    assert config.data == Path("/home/anna/.local/share/lekiwi-server")
    assert (config.host, config.port, config.database_url, config.store) == ("127.0.0.1", 8080, None, None)
    assert _parse(root=True).data == Path("/var/lib/lekiwi")


def test_relative_and_home_paths_become_absolute() -> None:
    assert _parse("--data", "d").data == Path("/somewhere/d")
    assert _parse("--data", "~/d").data == Path("/home/anna/d")
    assert _parse("--store", "content").store == "/somewhere/content"


def test_the_environment_serves_where_an_option_is_not_given() -> None:
    environ = {"LEKIWI_PORT": "9", "LEKIWI_DATABASE_URL": "postgresql://x@y/z", "LEKIWI_STORE": "s3://b/p/"}
    config = _parse(environ=environ)
    assert (config.port, config.database_url, config.store) == (9, "postgresql://x@y/z", "s3://b/p")
    assert _parse("--port", "7", environ=environ).port == 7


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "-1"),
        ("--port", "65536"),
        ("--port", "http"),
        ("--port", "1e3"),
        ("--port", "٣"),
        ("--data", "a\0b"),
        ("--store", "ftp://x"),
        ("--store", "s3://"),
        ("--store", "s3:///prefix"),
        ("--database-url", "mysql://x"),
        ("--database-url", "sqlite.db"),
        ("--url", "deploy.example.org"),
        ("--url", "ftp://deploy.example.org"),
        ("--url", "https://user:secret@deploy.example.org"),
        ("--log-days", "0"),
    ],
)
def test_values_that_cannot_work_are_refused_naming_the_option(arguments: tuple[str, str]) -> None:
    with pytest.raises(BadInput) as told:
        _parse(*arguments)
    assert arguments[0] in told.value.message or "path" in told.value.message
    assert "secret" not in told.value.message


def test_an_unknown_option_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as left:
        _parse("--prot", "1")
    assert left.value.code == 2
