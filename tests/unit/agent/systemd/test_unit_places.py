from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.supervisors.supervisor import instance_id
from lekiwi_deploy.agent.supervisors.systemd.places import (
    command_of,
    command_unit,
    instance_of,
    object_path,
    unit_of,
    user_of,
)

SERVICES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,49}", fullmatch=True)
FINGERPRINT = "0123456789abcdef" * 4


@given(SERVICES, st.text(max_size=5))
def test_a_unit_names_its_instance(service: str, content: str) -> None:
    instance = instance_id(service, FINGERPRINT)
    assert instance_of(unit_of(instance, content)) == instance
    assert command_of(unit_of(instance, content)) is None
    assert command_of(command_unit(instance, content)) == instance
    assert instance_of(command_unit(instance, content)) is None


@pytest.mark.parametrize(
    "name",
    [
        "lekiwi-agent.service",
        "lekiwi-agent-net.service",
        "lekiwi-traffic.service",
        "lekiwi.target",
        "ssh.service",
        "lekiwi-web-01234567.service",
        "lekiwi-web-01234567.89abcdef.service.d",
        "xlekiwi-web-01234567.89abcdef.service",
    ],
)
def test_other_units_are_nobodys(name: str) -> None:
    assert instance_of(name) is None
    assert command_of(name) is None


@given(SERVICES)
def test_a_user_can_be_made_of_every_services_name(service: str) -> None:
    assert re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", user_of(service))


@given(SERVICES, SERVICES)
def test_two_services_are_two_users(one: str, other: str) -> None:
    assert (user_of(one) == user_of(other)) == (one == other)


def test_names_on_the_bus_are_escaped_as_systemd_does() -> None:
    assert object_path("lekiwi-web-0a.1b.service").endswith("/unit/lekiwi_2dweb_2d0a_2e1b_2eservice")
    assert object_path("9.service").endswith("/unit/_39_2eservice")
