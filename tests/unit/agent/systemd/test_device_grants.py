from __future__ import annotations

import pytest

from lekiwi_deploy.agent.supervisors.systemd.grants import Grants, Node, grants

HERE = {"dialout", "video", "i2c", "plugdev", "input", "render"}


def test_nothing_is_granted_to_who_asks_for_nothing() -> None:
    assert grants((), (), (), HERE) == Grants()


@pytest.mark.parametrize(
    ("pattern", "kinds", "groups"),
    [
        ("/dev/ttyACM0", ("char-ttyACM",), ("dialout",)),
        ("/dev/ttyACM*", ("char-ttyACM",), ("dialout",)),
        ("/dev/serial/by-id/usb-1a86", ("char-ttyACM", "char-ttyUSB"), ("dialout",)),
        ("/dev/video[0-9]", ("char-video4linux",), ("video",)),
        ("/dev/i2c-1", ("char-i2c",), ("i2c",)),
        ("/dev/dri/renderD128", ("char-drm",), ("render", "video")),
        ("/dev/spidev0.0", ("char-spi",), ()),  # there is no group spi here
    ],
)
def test_what_is_not_plugged_in_is_granted_by_what_its_name_says(
    pattern: str, kinds: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    assert grants((pattern,), (), (), HERE) == Grants(kinds, groups)


def test_a_glob_over_several_kinds_grants_all_that_it_may_mean() -> None:
    found = grants(("/dev/ttyA*",), (), (), HERE)
    assert found.devices == ("char-ttyACM", "char-ttyAMA")


def test_a_device_that_is_there_is_granted_by_its_kind_and_its_owner() -> None:
    node = Node("/dev/lidar", "/dev/lidar", "char", "ttyUSB", "robots")
    assert grants(("/dev/lidar",), (), (node,), HERE) == Grants(("char-ttyUSB",), ("robots",))


def test_of_a_kind_with_much_else_in_it_only_the_one_device_is_granted() -> None:
    node = Node("/dev/kvm", "/dev/kvm", "char", "misc", "kvm")
    assert grants(("/dev/kvm",), (), (node,), HERE) == Grants(("/dev/kvm",), ("kvm",))


def test_an_unknown_device_that_is_not_there_is_granted_by_its_path() -> None:
    assert grants(("/dev/my-robot",), (), (), HERE) == Grants(("/dev/my-robot",), ())


def test_an_unknown_glob_that_nothing_fits_grants_nothing() -> None:
    assert grants(("/dev/my-robot*",), (), (), HERE) == Grants()


def test_root_is_no_group_to_be_in() -> None:
    node = Node("/dev/x", "/dev/x", "char", "xyz", "root")
    assert grants(("/dev/x",), (), (node,), HERE).groups == ()


def test_groups_that_were_asked_for_are_granted_even_if_they_are_not_here() -> None:
    assert grants((), ("gpio",), (), HERE).groups == ("gpio",)
