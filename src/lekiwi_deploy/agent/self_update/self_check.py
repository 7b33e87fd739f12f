"""`lekiwi-agent self-check`: whether this release works on this robot, as far as that can be told without running it."""

from __future__ import annotations

import importlib

from lekiwi_deploy import __version__
from lekiwi_deploy.agent.config import read_config
from lekiwi_deploy.agent.install import releases
from lekiwi_deploy.agent.journal import Journal
from lekiwi_deploy.agent.machine import platform
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.robot.ledger import SCHEMA

_PARTS = ("agent.run", "agent.net.run_net", "agent.self_update.guard", "agent.download", "agent.join")


def self_check(paths: Paths) -> str:
    """One line that says what it is. Raises whatever is wrong: an import that fails, a configuration or a journal that cannot be read."""
    for part in _PARTS:
        importlib.import_module(f"lekiwi_deploy.{part}")
    robot = read_config(paths).robot
    Journal(paths.journal).load()
    return (
        f"lekiwi-agent {__version__}, release {releases.running(paths) or 'none'}, for {platform().key}, "
        f"journal {SCHEMA}: in order for {robot}"
    )
