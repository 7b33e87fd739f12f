"""For every test: nothing of the machine's own LeKiwi configuration gets in."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_configuration_of_this_machine() -> None:
    for name in [name for name in os.environ if name.startswith("LEKIWI_")]:
        del os.environ[name]
