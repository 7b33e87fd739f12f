"""For every test: nothing of the machine's own LeKiwi configuration gets in."""

import os

import pytest

FOR_TESTS = ("LEKIWI_REQUIRE_MACHINES", "LEKIWI_SOAK", "LEKIWI_TEST_CACHE")
"""Variables that configure the tests themselves."""


@pytest.fixture(autouse=True, scope="session")
def _no_configuration_of_this_machine() -> None:
    for name in [name for name in os.environ if name.startswith("LEKIWI_") and name not in FOR_TESTS]:
        del os.environ[name]
