"""The JSON schema of lekiwi.yaml that this package ships, and where a server serves it."""

from __future__ import annotations

from importlib.resources import files

SCHEMA_PATH = "/schema/lekiwi.yaml.json"
"""Below a server's URL; needs no token, since editors have none."""


def schema_bytes() -> bytes:
    """The schema, draft 2020-12."""
    return (files("lekiwi_deploy") / "lekiwi.schema.json").read_bytes()


def schema_line(api: str) -> str:
    """The first line of a lekiwi.yaml, by which editors find the schema on the server at `api`."""
    return f"# yaml-language-server: $schema={api}{SCHEMA_PATH}"
