from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_launches import FINGERPRINT, ground, launch

from lekiwi_deploy.agent.supervisors.systemd.grants import Grants
from lekiwi_deploy.agent.supervisors.systemd.record import read_record, record_of
from lekiwi_deploy.agent.supervisors.systemd.unit import command_unit, service_unit
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.manifest import Needs


def settings(text: str) -> dict[str, list[str]]:
    """Name → values, as systemd reads them from the sections that it knows."""
    found: dict[str, list[str]] = {}
    section = ""
    for each in text.splitlines():
        if each.startswith("["):
            section = each
        elif each and not section.startswith("[X-"):
            name, _, value = each.partition("=")
            found.setdefault(name, []).append(value)
    return found


def of(**more: object) -> dict[str, list[str]]:
    granted = more.pop("granted", None)
    assert granted is None or isinstance(granted, Grants)
    return settings(service_unit(launch(**more), ground(granted)).text)


def test_by_default_a_service_can_do_next_to_nothing() -> None:
    found = of()
    assert found["DynamicUser"] == ["yes"]
    assert found["User"] == ["lekiwi-web"]
    assert found["CapabilityBoundingSet"] == [""]
    assert found["PrivateDevices"] == ["yes"]
    assert found["DevicePolicy"] == ["closed"]
    assert "DeviceAllow" not in found
    assert "SupplementaryGroups" not in found
    assert found["ProtectSystem"] == ["strict"]
    assert found["ProtectHome"] == ["yes"]
    assert found["RestrictRealtime"] == ["yes"]
    assert found["SystemCallFilter"] == [
        "@system-service",
        "~@privileged @resources",
        "sched_setscheduler sched_setparam sched_setattr sched_setaffinity",
    ]


def test_the_state_folder_outlives_deployments_and_is_what_the_program_is_told() -> None:
    found = of()
    assert found["StateDirectory"] == ['"lekiwi/state/web"']
    assert found["StateDirectoryMode"] == ["0700"]


def test_a_state_folder_elsewhere_is_refused() -> None:
    from dataclasses import replace

    with pytest.raises(BadInput, match="below /var/lib"):
        service_unit(replace(launch(), state=Path("/srv/state")), ground())


def test_variables_are_in_their_file_and_not_in_the_unit() -> None:
    unit = service_unit(launch(environment={"API_KEY": "s3cret"}), ground())
    assert "s3cret" not in unit.text
    assert 'API_KEY="s3cret"\n' in unit.variables
    assert "s3cret" not in repr(unit)
    assert settings(unit.text)["EnvironmentFile"] == ["/run/lekiwi/env/%n"]


def test_home_is_the_state_folder() -> None:
    assert (
        'HOME="/var/lib/lekiwi/state/web"\n' in service_unit(launch(environment={"HOME": "/root"}), ground()).variables
    )


def test_other_content_has_another_name() -> None:
    names = {
        service_unit(each, ground()).name
        for each in (
            launch(),
            launch(environment={"A": "1"}),
            launch(environment={"A": "2"}),
            launch(grace_s=11.0),
            launch(run=("/bin/sh", "-c", "false")),
            launch(service="base"),
        )
    }
    assert len(names) == 6
    assert service_unit(launch(), ground()).name == service_unit(launch(), ground()).name


def test_devices_open_only_what_they_name() -> None:
    found = of(granted=Grants(("/dev/kvm", "char-ttyACM"), ("dialout", "plugdev")), needs=Needs(devices=("/dev/x",)))
    assert found["DeviceAllow"] == ['"/dev/kvm" rw', "char-ttyACM rw"]
    assert found["SupplementaryGroups"] == ["dialout plugdev"]
    assert found["DevicePolicy"] == ["closed"]
    assert "PrivateDevices" not in found


def test_real_time_priority_is_opened_up_to_what_was_asked_for() -> None:
    found = of(needs=Needs(realtime=50))
    assert found["LimitRTPRIO"] == ["50"]
    assert found["RestrictRealtime"] == ["no"]
    assert found["SystemCallFilter"] == ["@system-service", "~@privileged"]


def test_capabilities_are_those_that_were_asked_for() -> None:
    found = of(needs=Needs(capabilities=("CAP_NET_RAW", "CAP_NET_ADMIN")))
    assert found["CapabilityBoundingSet"] == found["AmbientCapabilities"] == ["CAP_NET_ADMIN CAP_NET_RAW"]
    assert "AF_CAN" in found["RestrictAddressFamilies"][0]


@pytest.mark.parametrize(
    ("capability", "opens"), [("CAP_SYS_TIME", "@clock"), ("CAP_SYSLOG", "syslog"), ("CAP_PERFMON", "perf_event_open")]
)
def test_a_capability_comes_with_the_system_calls_that_it_is_for(capability: str, opens: str) -> None:
    assert opens in of(needs=Needs(capabilities=(capability,)))["SystemCallFilter"]


def test_limits_are_as_declared() -> None:
    found = of(needs=Needs(cpus=(2, 0), memory_max=1_000_000, cpu_percent=150, tasks_max=64))
    assert found["CPUAffinity"] == ["0 2"]
    assert found["MemoryMax"] == ["1000000"]
    assert found["CPUQuota"] == ["150%"]
    assert found["TasksMax"] == ["64"]


def test_without_network_only_unix_sockets_are_left() -> None:
    found = of(needs=Needs(network=False))
    assert found["PrivateNetwork"] == ["yes"]
    assert found["RestrictAddressFamilies"] == ["AF_UNIX"]


def test_homes_can_be_read_only_when_asked_for() -> None:
    assert of(needs=Needs(home=True))["ProtectHome"] == ["read-only"]


def test_the_lock_is_shown_to_who_needs_it_and_to_nobody_else() -> None:
    assert "/run/lekiwi/locks" not in service_unit(launch(), ground()).text
    found = of(lock=Path("/run/lekiwi/locks/motors"))
    assert found["BindPaths"] == ['"/run/lekiwi/locks/motors"']
    assert '"/run/lekiwi/locks:ro,mode=0755"' in found["TemporaryFileSystem"][0]


def test_a_service_that_says_when_it_is_ready_may_wait_for_its_hardware_as_long_as_it_takes() -> None:
    found = of(notify=True, watchdog_s=2.5)
    assert found["Type"] == ["notify"]
    assert found["WatchdogSec"] == ["2500ms"]
    assert found["TimeoutStartSec"] == ["infinity"]
    assert of()["Type"] == ["exec"]


def test_no_grace_is_not_for_ever() -> None:
    assert of(grace_s=0.0)["TimeoutStopSec"] == ["1ms"]


def test_systemd_brings_a_service_back_by_itself_for_ever() -> None:
    found = of()
    assert found["Restart"] == ["always"]
    assert found["StartLimitIntervalSec"] == ["0"]


@pytest.mark.parametrize(
    "folder",
    [
        *(
            "/",
            "/etc",
            "/etc/cron.d",
            "/usr/local",
            "/opt",
            "/opt/lekiwi/objects",
            "/var/lib",
            "/var/lib/lekiwi/state/other",
        ),
        *("relative", "/srv/../etc", "/srv/maps/", "/run", "/dev/shm", "/var/lib/private/x"),
    ],
)
def test_what_is_the_systems_or_ours_is_never_writable(folder: str) -> None:
    with pytest.raises(BadInput, match="cannot be given"):
        of(needs=Needs(writable=(folder,)))


@given(
    st.text(max_size=60),
    st.text(max_size=60),
    st.sampled_from(["run", "environment", "writable", "devices", "capabilities", "groups"]),
)
def test_no_value_can_add_a_setting(before: str, after: str, where: str) -> None:
    value = f"{before}\nExecStartPre=/bin/evil{after}"
    needs = {
        "writable": Needs(writable=("/srv/" + value,)),
        "capabilities": Needs(capabilities=(value,)),
    }.get(where, Needs())
    granted = Grants(
        devices=(value,) if where == "devices" else (), groups=(value,) if where == "groups" else ("dialout",)
    )
    try:
        unit = service_unit(
            launch(
                run=("/bin/sh", value) if where == "run" else ("/bin/sh",),
                environment={"A": value} if where == "environment" else {},
                needs=needs,
            ),
            ground(granted),
        )
    except BadInput:
        return
    assert not any(each.startswith("ExecStartPre") for each in unit.text.splitlines())
    assert settings(unit.text)["User"] == ["lekiwi-web"]


def test_a_unit_says_whose_it_is() -> None:
    given_ = launch(port=24001, notify=True, watchdog_s=1.0)
    record = read_record(service_unit(given_, ground()).text)
    assert record == record_of(given_)
    assert record.instance == given_.instance
    assert record.fingerprint == FINGERPRINT


@pytest.mark.parametrize("text", ["", "[X-Lekiwi]\n", "\n[X-Lekiwi]\nInstance={\n", "\n[X-Lekiwi]\nOther=1\n"])
def test_what_is_no_record_is_none(text: str) -> None:
    assert read_record(text) is None


def test_a_command_runs_within_the_same_walls_and_ends_in_time() -> None:
    unit = command_unit(launch(lock=Path("/run/lekiwi/locks/m")), ground(), ("check", "--now"), 3.0)
    found, service = settings(unit.text), of(lock=Path("/run/lekiwi/locks/m"))
    assert found["Type"] == ["oneshot"]
    assert found["TimeoutStartSec"] == ["3000ms"]
    assert found["StandardOutput"] == ["file:/run/lekiwi/pipes/%n"]
    assert "Restart" not in found
    different = {
        "Type",
        "ExecStart",
        "Description",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "StandardOutput",
        "StandardError",
    }
    different |= {
        "Restart",
        "RestartSec",
        "JobRunningTimeoutSec",
        "NotifyAccess",
        "OOMPolicy",
        "StartLimitIntervalSec",
        "PartOf",
        "After",
    }
    assert {k: v for k, v in found.items() if k not in different} == {
        k: v for k, v in service.items() if k not in different
    }
