import msgspec
import pytest

from lekiwi_deploy.cli.adopting.adoption import name_of
from lekiwi_deploy.cli.adopting.found import Finding, Survey, findings, platform_of, python_of
from lekiwi_deploy.cli.adopting.telling import failed
from lekiwi_deploy.wire.ids import checked_name

NOW = 1_800_000_000.0
PI = Survey(
    hostname="lekiwi-001",
    system="Linux",
    arch="aarch64",
    libc="glibc",
    libc_version="2.36",
    pythons=(("/usr/bin/python3", "3.11.2"),),
    own_python="3.11.2",
    booted_with_systemd=True,
    systemd=252,
    disk_free=23_000_000_000,
    memory=4_000_000_000,
    clock=NOW + 3,
    model="Raspberry Pi 5",
    nftables=True,
    memory_limits=True,
    robot=None,
    server=("srv_1", ""),
    ssh_passwords=True,
    today=(),
)


def found(**changes: object) -> dict[str, Finding]:
    survey = msgspec.structs.replace(PI, **changes)
    return {f.name: f for f in findings(survey, url="https://deploy.example.org", server_id="srv_1", now=NOW)}


def test_a_raspberry_pi_as_it_comes_is_fine() -> None:
    assert {finding.state for finding in found().values()} == {"ok"}
    assert found()["machine"].text == "Raspberry Pi 5, aarch64, glibc 2.36"


@pytest.mark.parametrize(
    ("changes", "name", "state", "words"),
    [
        ({"pythons": (("/usr/bin/python3", "3.9.2"),), "own_python": "3.9.2"}, "python", "fail", "3.9.2 is too old"),
        ({"pythons": (("/usr/bin/python3", ""),)}, "python", "fail", "lacks parts of the standard library"),
        ({"booted_with_systemd": False}, "systemd", "fail", "not booted with systemd"),
        ({"systemd": 241}, "systemd", "fail", "247 or newer"),
        ({"disk_free": 50_000_000}, "disk", "fail", "only 50 MB free"),
        ({"server": ("", "timed out")}, "server", "fail", "cannot be reached from there: timed out"),
        ({"server": ("srv_2", "")}, "server", "fail", "leads to another server"),
        ({"clock": NOW - 4000}, "clock", "warn", "4000 s behind"),
        ({"nftables": False}, "nftables", "warn", "relay"),
        ({"memory_limits": False}, "limits", "warn", "memory limits"),
        ({"memory": 100_000_000}, "memory", "warn", "100 MB"),
        ({"system": "Darwin"}, "machine", "fail", "robots run Linux"),
        ({"libc": ""}, "machine", "fail", "neither glibc nor musl"),
    ],
)
def test_what_is_not_fine_is_told_under_its_name(changes: dict[str, object], name: str, state: str, words: str) -> None:
    finding = found(**changes)[name]
    assert finding.state == state
    assert words in finding.text
    assert (name in failed(list(found(**changes).values()))) == (state == "fail")


def test_a_newer_python_beside_an_old_one_is_used() -> None:
    survey = msgspec.structs.replace(PI, pythons=(("/usr/bin/python3", "3.9.2"), ("/usr/bin/python3.12", "3.12.1")))
    assert python_of(survey) == ("/usr/bin/python3.12", "3.12.1")
    platform = platform_of(survey)
    assert platform is not None and platform.key == "linux-aarch64-glibc2.36-py3.12"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("lekiwi-001", "lekiwi-001"),
        ("Anna's Robot.local", "anna-s-robot"),
        ("raspberrypi", "raspberrypi"),
        ("…", "robot"),
        ("x" * 80, "x" * 40),
    ],
)
def test_a_host_name_makes_a_robot_name(host: str, name: str) -> None:
    assert name_of(host) == name
    assert checked_name("a robot", name_of(host))
