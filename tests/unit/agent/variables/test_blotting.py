"""Secrets in a service's own output file become stars, wherever they lie, and nothing else in it changes."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from lekiwi_deploy.agent.variables import blotting
from lekiwi_deploy.agent.variables.blotting import blot
from lekiwi_deploy.agent.variables.masking import Mask


def blotted(tmp_path: Path, content: bytes, *values: str, parts: tuple[int, ...] = ()) -> bytes:
    """The file after it was read in these parts."""
    path, mask = tmp_path / "log", Mask()
    mask.use(values)
    path.write_bytes(content)
    fd = os.open(path, os.O_RDONLY)
    try:
        for start, end in zip((0, *parts), (*parts, len(content)), strict=True):
            blot(mask, fd, start, end)
    finally:
        os.close(fd)
    return path.read_bytes()


def test_without_secrets_nothing_is_touched(tmp_path: Path) -> None:
    assert blotted(tmp_path, b"all of it\n") == b"all of it\n"


def test_every_secret_becomes_as_many_stars(tmp_path: Path) -> None:
    content = "a secret123 b geheimß c\nsecret123".encode()
    assert blotted(tmp_path, content, "secret123", "geheimß") == b"a ********* b ******** c\n*********"


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_secret_that_was_read_in_two_parts_is_found(tmp_path: Path, cut: int) -> None:
    assert blotted(tmp_path, b"..secret123...", "secret123", parts=(cut,)) == b"..*********..."


@pytest.mark.parametrize("chunk", [4, 5, 9, 10, 11])
def test_a_secret_across_two_chunks_is_found(tmp_path: Path, chunk: int) -> None:
    with patch.object(blotting, "_CHUNK", chunk):
        assert blotted(tmp_path, b"." * 23 + b"secret123" + b"." * 23, "secret123") == b"." * 23 + b"*" * 9 + b"." * 23


def test_of_a_secret_with_several_lines_each_is_blotted(tmp_path: Path) -> None:
    assert blotted(tmp_path, b"line-one\nno\nline-two\n", "line-one\nno\nline-two\n") == b"********\nno\n********\n"
