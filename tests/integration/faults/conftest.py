"""A robot that ran two deployments, to be copied for each fault; how many points are tried (LEKIWI_SOAK=1: all)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_world import Deployer, copied, deployer

SOAK = os.environ.get("LEKIWI_SOAK") == "1"


@pytest.fixture(scope="session")
def soak() -> bool:
    """Whether every point is tried, which takes an hour."""
    return SOAK


@pytest.fixture(scope="session")
def deploys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployer]:
    with deployer(tmp_path_factory.mktemp("told")) as made:
        yield made


@pytest.fixture(scope="session")
def base(deploys: Deployer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A robot's root with two good deployments."""
    root = tmp_path_factory.mktemp("base") / "robot"
    root.mkdir()
    for name in "ab":
        told = deploys.run(root, name)
        assert told.done, told
    return root


@pytest.fixture(scope="session")
def calls(deploys: Deployer, base: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many calls of a whole deployment change the disk."""
    root = copied(base, tmp_path_factory.mktemp("count"))
    return deploys.run(root).calls
