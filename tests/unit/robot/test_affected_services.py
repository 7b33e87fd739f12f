from typing import Any

import msgspec
import pytest

from lekiwi_deploy.robot.affected import affected, checks
from lekiwi_deploy.wire.fingerprints import fingerprint, fingerprints
from lekiwi_deploy.wire.manifest import (
    Handover,
    Hook,
    HookKind,
    HttpCheck,
    Manifest,
    Needs,
    PlatformTree,
    ProcessCheck,
    Service,
    Warm,
)
from lekiwi_deploy.wire.platforms import Platform

HERE = Platform("linux", "x86_64", "glibc", "2.36", "3.11")
BASE = Service(name="base", run=("python3", "base.py"), content="a" * 64, env=("MOTORS",), exclusive="motors")
WEB = Service(name="web", run=("python3", "web.py"), content="b" * 64, port=8000)


def release(*services: Service, deps: str = "d" * 64, **more: Any) -> Manifest:
    return Manifest(
        project="kiwi",
        stack="python",
        files=(),
        platforms={HERE.key: PlatformTree(content=deps)},
        services=services,
        **more,
    )


def prints(manifest: Manifest, **variables: str) -> dict[str, str]:
    return fingerprints(manifest, HERE, variables)


def change(old: Manifest, new: Manifest) -> Any:
    return affected(prints(old), prints(new), checks(old), checks(new))


def test_only_the_service_whose_files_changed_is_restarted() -> None:
    found = change(release(BASE, WEB), release(BASE, msgspec.structs.replace(WEB, content="c" * 64)))
    assert (found.start, found.stop, found.judge) == (("web",), (), ("web",))


@pytest.mark.parametrize(
    "changed",
    [
        {"run": ("python3", "-O", "web.py")},
        {"folder": "code/web"},
        {"port": 8001},
        {"exclusive": "camera"},
        {"env": ("API_KEY",)},
        {"handover": Handover.LOCK},
        {"notify": True},
        {"watchdog_s": 5.0},
        {"needs": Needs(devices=("/dev/video0",))},
        {"needs": Needs(network=False)},
        {"needs": Needs(memory_max=10**8)},
    ],
)
def test_what_a_process_depends_on_restarts_it(changed: dict[str, Any]) -> None:
    found = change(release(BASE, WEB), release(BASE, msgspec.structs.replace(WEB, **changed)))
    assert found.start == ("web",)


def test_new_dependencies_restart_everything() -> None:
    found = change(release(BASE, WEB), release(BASE, WEB, deps="e" * 64))
    assert found.start == ("base", "web")


def test_new_search_paths_restart_everything() -> None:
    assert change(release(WEB), release(WEB, python_path=("code/src",))).start == ("web",)


def test_another_health_check_restarts_nothing_but_is_judged() -> None:
    new = msgspec.structs.replace(WEB, health=(HttpCheck(path="/health"),), stop_grace_s=3.0)
    found = change(release(BASE, WEB), release(BASE, new))
    assert (found.start, found.stop, found.judge) == ((), (), ("web",))


def test_only_declared_variables_count() -> None:
    manifest = release(BASE, WEB)
    before = prints(manifest, MOTORS="1", OTHER="1")
    assert prints(manifest, MOTORS="1", OTHER="2") == before
    after = prints(manifest, MOTORS="2", OTHER="1")
    assert (after["base"] != before["base"], after["web"] == before["web"]) == (True, True)


def test_an_unset_variable_is_not_an_empty_one() -> None:
    assert fingerprint(release(BASE), BASE, HERE, {}) != fingerprint(release(BASE), BASE, HERE, {"MOTORS": ""})


def test_a_service_that_is_gone_is_stopped_and_a_new_one_started() -> None:
    found = change(release(BASE), release(WEB))
    assert (found.start, found.stop, found.names) == (("web",), ("base",), ("base", "web"))


def test_the_same_release_changes_nothing() -> None:
    found = change(release(BASE, WEB), release(BASE, WEB))
    assert (found.start, found.stop, found.judge) == ((), (), ())


def test_checks_of_a_service_are_its_own() -> None:
    assert checks(release(msgspec.structs.replace(WEB, health=(ProcessCheck(),)))) == {"web": (ProcessCheck(),)}


def test_what_is_only_the_agents_business_restarts_nothing() -> None:
    hooks = {HookKind.PREPARE: Hook(run=("./migrate",))}
    told = msgspec.structs.replace(WEB, warm=Warm.ALWAYS, drain_s=90.0, hooks=hooks, stop_grace_s=3.0)
    assert change(release(BASE, WEB), release(BASE, told)).start == ()


def test_a_newer_agent_gives_a_service_that_says_nothing_new_the_fingerprint_it_had() -> None:
    assert prints(release(BASE, WEB), MOTORS="/dev/x") == {
        "base": "029e48ef1e6039f8d93adc1006eb93d946ccadada2a1f3ab0b9a1f81e9ea69a7",
        "web": "77ffeb5c76d96e94a5c0717000bd0b6084d575e195f1cf93892aff6e0cdfaa47",
    }


def test_every_need_is_part_of_the_fingerprint() -> None:
    other = {
        "devices": ("/dev/x",),
        "groups": ("video",),
        "capabilities": ("CAP_KILL",),
        "writable": ("/srv/x",),
        "cpus": (1,),
    }
    for field in msgspec.structs.fields(Needs):
        value = other.get(field.name, not field.default if isinstance(field.default, bool) else 10)
        needs = Needs(**{field.name: value})
        assert prints(release(msgspec.structs.replace(WEB, needs=needs))) != prints(release(WEB)), field.name
