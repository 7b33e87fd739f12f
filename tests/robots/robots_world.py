"""What the tests on robots share."""

from __future__ import annotations

from typing import Protocol

from lekiwi_deploy.testing.machine import Machine
from lekiwi_deploy.testing.machine_network import Lan


class Machines(Protocol):
    """The fixture `machines`: a machine that is not booted yet."""

    def __call__(self, name: str, *, disk: tuple[str, int] | None = None, lan: Lan | None = None) -> Machine: ...
