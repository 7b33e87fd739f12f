"""`lekiwi deploy --min-success --skip-offline --offline`: what robots that are off mean."""

from __future__ import annotations

import pytest

from lekiwi_deploy.cli.pace import offline_of
from lekiwi_deploy.errors import BadInput


@pytest.mark.parametrize(
    ("offline", "min_success", "skip", "means"),
    [
        (None, None, False, (None, None)),
        (None, "95%", False, (95.0, None)),
        (None, "95", True, (95.0, True)),
        ("pending", None, False, (None, False)),
        ("ignore", "50%", False, (50.0, True)),
        ("ignore", None, True, (None, True)),
        ("fail", None, False, (100.0, False)),
    ],
)
def test_what_robots_that_are_off_mean(
    offline: str | None, min_success: str | None, skip: bool, means: tuple[float | None, bool | None]
) -> None:
    assert offline_of(offline, min_success, skip_offline=skip) == means


@pytest.mark.parametrize(
    ("offline", "min_success", "skip"),
    [("fail", "95%", False), ("pending", None, True), ("fail", None, True), (None, "0", False), (None, "x", False)],
)
def test_what_contradicts_itself_is_refused(offline: str | None, min_success: str | None, skip: bool) -> None:
    with pytest.raises(BadInput):
        offline_of(offline, min_success, skip_offline=skip)
