"""What lekiwi.yaml says of handing over, of the sandbox, of hooks and of conditions."""

from __future__ import annotations

import pytest

from lekiwi_deploy.server.builds.needs_file import AS_ROOT, CAPABILITIES
from lekiwi_deploy.server.builds.project_file import read_project_file
from lekiwi_deploy.server.builds.service_content import services_of
from lekiwi_deploy.server.builds.strict_yaml import ProjectFileError
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import Conditions, FileEntry, FileKind, Handover, Hook, HookKind, Needs, Warm
from lekiwi_deploy.wire.policy import Policy

EVERYTHING = b"""
services:
  base:
    run: [python, -m, kiwi.base]
    exclusive: motors
    handover: lock
    warm: always
    watchdog: 10s
    needs:
      devices: [/dev/ttyUSB*, "/dev/video[0-9]", /dev/input/event*]
      groups: [video, dialout]
      capabilities: [CAP_SYS_NICE, CAP_NET_RAW]
      realtime: 80
      cpus: [3, 2]
      memory: 300MB
      cpu: 150%
      tasks: 64
      writable: [/srv/maps, /home/pi/maps]
      network: false
      home: true
    hooks:
      prepare: {run: ./migrate --check, timeout: 2m}
      before_stop: [python, park.py]
      after_start: ./warm-up
      on_rollback: {run: [sh, -c, "rm cache"]}
  web:
    run: serve
    port: 8000
    drain: 90s
    notify: true
    warm: never
conditions: {disk_free: 500MB, memory_free: 128MiB, battery: 30%, temperature: 75.5C, load: 4, power_good: true, clock: false}
production: {branch: main, defer_limit: 90m}
"""


def test_everything_is_read_and_reaches_the_manifest() -> None:
    spec = read_project_file(EVERYTHING)
    entry = FileEntry("code/a.py", FileKind.FILE, 1, ObjectDigest("0" * 64))
    base, web = services_of(spec.services, [entry])
    assert (base.handover, base.warm, base.notify, base.watchdog_s) == (Handover.LOCK, Warm.ALWAYS, True, 10)
    assert base.needs == Needs(
        devices=("/dev/input/event*", "/dev/ttyUSB*", "/dev/video[0-9]"), groups=("dialout", "video"),
        capabilities=("CAP_NET_RAW", "CAP_SYS_NICE"), realtime=80, cpus=(2, 3), memory_max=300_000_000, cpu_percent=150, tasks_max=64,
        writable=("/home/pi/maps", "/srv/maps"), network=False, home=True,
    )  # fmt: skip
    assert base.hooks == {
        HookKind.PREPARE: Hook(run=("/bin/sh", "-c", "./migrate --check"), timeout_s=120),
        HookKind.BEFORE_STOP: Hook(run=("python", "park.py")),
        HookKind.AFTER_START: Hook(run=("/bin/sh", "-c", "./warm-up")),
        HookKind.ON_ROLLBACK: Hook(run=("sh", "-c", "rm cache")),
    }
    assert (web.drain_s, web.notify, web.watchdog_s, web.warm) == (90, True, None, Warm.NEVER)
    assert spec.conditions == Conditions(
        disk_free=500_000_000,
        memory_free=128 * 2**20,
        battery=30,
        temperature=75.5,
        load=4,
        power_good=True,
        clock=False,
    )
    assert spec.environments[0].policy == Policy(defer_limit_s=5400)


def test_a_service_that_says_nothing_new_is_stored_as_before() -> None:
    (spec,) = read_project_file(b"services: {web: {run: x}}").services
    entry = FileEntry("code/a.py", FileKind.FILE, 1, ObjectDigest("0" * 64))
    (service,) = services_of([spec], [entry])
    assert (service.handover, service.warm, service.drain_s, service.needs, service.hooks) == (
        Handover.STOP,
        Warm.AUTO,
        30.0,
        Needs(),
        {},
    )
    stored = encode(service)
    for word in (b"handover", b"warm", b"notify", b"watchdog", b"hooks"):
        assert word not in stored


MISTAKES = [
    ("handover: lock", "handover", "needs `exclusive`"),
    ("{exclusive: m, handover: lok}", "handover", "did you mean 'lock'"),
    ("warm: auto", "warm", "needs `port` or `handover: lock`"),
    ("{exclusive: m, handover: stop, warm: always}", "warm", "needs `port` or `handover: lock`"),
    ("{port: 1, warm: yes}", "warm", "must be text"),
    ("drain: 30s", "drain", "needs `port`"),
    ("{port: 1, drain: 30}", "drain", "needs a unit: write 30s"),
    ("{port: 1, drain: 2d}", "drain", "between 0ms and 1d"),
    ("notify: 1", "notify", "must be true or false"),
    ("{watchdog: 10s, notify: false}", "notify", "`watchdog` needs it"),
    ("watchdog: 10ms", "watchdog", "between 100ms and 1h"),
    ("needs: []", "needs", "must be a mapping (key: value), for example {devices"),
    ("needs: {device: [/dev/video0]}", "needs.device", "did you mean 'devices'"),
    ("needs: {devices: /dev/video0}", "needs.devices", "must be a list"),
    ("needs: {devices: []}", "needs.devices", "must not be an empty list"),
    ("needs: {devices: [/dev/video0, /dev/video0]}", "needs.devices[1]", "/dev/video0 is there twice"),
    ("needs: {devices: [video0]}", "needs.devices[0]", "must be a device below /dev"),
    ("needs: {devices: [/dev/../etc/shadow]}", "needs.devices[0]", "must be a device below /dev"),
    ("needs: {devices: [/dev/a/../../x]}", "needs.devices[0]", "must be a device below /dev"),
    ("needs: {devices: ['/dev/*']}", "needs.devices[0]", "must be a device below /dev"),
    ("needs: {devices: ['/dev/video0 rw']}", "needs.devices[0]", "must be a device below /dev"),
    ("needs: {devices: [/dev/mem]}", "needs.devices[0]", "memory or disks"),
    ("needs: {devices: ['/dev/s*']}", "needs.devices[0]", "includes sda"),
    ("needs: {devices: ['/dev/mmcblk0p?']}", "needs.devices[0]", "memory or disks"),
    ("needs: {groups: [docker]}", "needs.groups[0]", "as powerful as root"),
    ("needs: {groups: ['video,disk']}", "needs.groups[0]", "cannot name a group"),
    ("needs: {capabilities: [CAP_NET_RAV]}", "needs.capabilities[0]", "did you mean 'CAP_NET_RAW'"),
    ("needs: {capabilities: [net_raw]}", "needs.capabilities[0]", "must be one of"),
    ("needs: {capabilities: [CAP_SYS_ADMIN]}", "needs.capabilities[0]", "as powerful as root"),
    ("needs: {realtime: 0}", "needs.realtime", "between 1 and 99"),
    ("needs: {realtime: 100}", "needs.realtime", "between 1 and 99"),
    ("needs: {realtime: true}", "needs.realtime", "must be a whole number"),
    ("needs: {cpus: [-1]}", "needs.cpus[0]", "between 0 and 1023"),
    ("needs: {cpus: 0-3}", "needs.cpus", "must be a list"),
    ("needs: {memory: 300}", "needs.memory", "must be a size such as 300MB"),
    ("needs: {memory: 300M}", "needs.memory", "must be a size such as 300MB"),
    ("needs: {memory: 1kB}", "needs.memory", "between 4MB and 1000GB"),
    ("needs: {memory: -1GB}", "needs.memory", "must be a size"),
    ("needs: {cpu: 50}", "needs.cpu", "must be a percentage such as 50%"),
    ("needs: {cpu: 50.5%}", "needs.cpu", "whole percentage"),
    ("needs: {cpu: 0%}", "needs.cpu", "between 1% and 102400%"),
    ("needs: {tasks: 0}", "needs.tasks", "between 1 and 100000"),
    ("needs: {writable: [maps]}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: [/]}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: [/srv/../etc]}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: [/srv//x]}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: [/srv/x/]}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: ['/srv/a b']}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: ['/srv/%h']}", "needs.writable[0]", "must be an absolute folder"),
    ("needs: {writable: [/etc]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/etc/systemd/system]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/usr/local/bin]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/lib64]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/run/lekiwi]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/var]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/var/lib]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/var/run/x]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/var/lib/lekiwi-agent/spool]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/var/lib/lekiwi/state/web]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/opt/lekiwi/objects]}", "needs.writable[0]", "belongs to the system"),
    ("needs: {writable: [/home/pi/maps]}", "needs.writable[0]", "add `home: true`"),
    ("needs: {writable: [/home/pi], home: true}", "needs.writable[0]", "belongs to the system, to people"),
    ("needs: {writable: [/home/pi/.ssh], home: true}", "needs.writable[0]", "begins with a dot"),
    ("needs: {home: on}", "needs.home", "must be true or false"),
    ("{port: 1, needs: {network: false}}", "needs.network", "the service has a `port`"),
    ("hooks: x", "hooks", "must be a mapping"),
    ("hooks: {prepar: x}", "hooks.prepar", "did you mean 'prepare'"),
    ("hooks: {prepare: {timeout: 1s}}", "hooks.prepare", "needs `run`"),
    ("hooks: {prepare: {run: x, timeuot: 1s}}", "hooks.prepare.timeuot", "did you mean 'timeout'"),
    ("hooks: {prepare: {run: x, timeout: 2h}}", "hooks.prepare.timeout", "between 100ms and 1h"),
    ("hooks: {prepare: []}", "hooks.prepare", "must not be an empty list"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "key", "hint"), MISTAKES, ids=[text[:50] for text, *_ in MISTAKES])
def test_a_mistake_in_a_service_is_told_with_its_key(text: str, key: str, hint: str) -> None:
    inner = text.removeprefix("{").removesuffix("}") if text.startswith("{") else text
    with pytest.raises(ProjectFileError) as caught:
        read_project_file(f"services:\n  a: {{run: x, {inner}}}\n".encode())
    assert caught.value.message.startswith(f"lekiwi.yaml:2: services.a.{key}: ")
    assert hint in caught.value.message


@pytest.mark.parametrize(
    ("text", "key", "hint"),
    [
        ("conditions: []", "conditions", "must be a mapping"),
        ("conditions: {disk: 1GB}", "conditions.disk", "did you mean 'disk_free'"),
        ("conditions: {disk_free: 500}", "conditions.disk_free", "must be a size such as 300MB"),
        ("conditions: {battery: 30}", "conditions.battery", "must be a percentage such as 30%, not the number 30"),
        ("conditions: {battery: 120%}", "conditions.battery", "between 1% and 100%"),
        ("conditions: {temperature: 75}", "conditions.temperature", "must be a temperature such as 75C"),
        ("conditions: {temperature: 300C}", "conditions.temperature", "between 20C and 150C"),
        ("conditions: {load: high}", "conditions.load", "must be a number"),
        ("conditions: {load: .inf}", "conditions.load", "must be a number"),
        ("conditions: {load: 0}", "conditions.load", "between 0.1 and 1000"),
        ("conditions: {clock: 'true'}", "conditions.clock", "must be true or false"),
        ("condition: {clock: true}", "condition", "did you mean 'conditions'"),
        ("production: {branch: main, defer_limit: 4}", "production.defer_limit", "needs a unit: write 4s"),
        ("production: {branch: main, defer_limit: 1s}", "production.defer_limit", "between 1m and 30d"),
        ("production: {branch: main, defer_limits: 1h}", "production.defer_limits", "did you mean 'defer_limit'"),
    ],
)
def test_a_mistake_in_conditions_or_an_environment_is_told_with_its_key(text: str, key: str, hint: str) -> None:
    with pytest.raises(ProjectFileError) as caught:
        read_project_file(text.encode())
    assert caught.value.message.startswith(f"lekiwi.yaml:1: {key}: ")
    assert hint in caught.value.message


@pytest.mark.parametrize(
    "folder",
    [
        "/srv/maps",
        "/data",
        "/mnt/ssd",
        "/var/lib/kiwi",
        "/var/cache/kiwi/x",
        "/opt/maps",
        "/var/log/kiwi",
        "/media/usb",
    ],
)
def test_a_folder_of_a_services_own_may_be_writable(folder: str) -> None:
    (service,) = read_project_file(f"services: {{a: {{run: x, needs: {{writable: [{folder}]}}}}}}".encode()).services
    assert service.needs.writable == (folder,)


def test_a_capability_is_either_allowed_or_as_good_as_root() -> None:
    assert not set(CAPABILITIES) & set(AS_ROOT)
    assert len(CAPABILITIES) + len(AS_ROOT) == 41  # as in capabilities(7) of Linux 6
