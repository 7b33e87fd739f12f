"""What differs between two releases, and which services would be started again."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from lekiwi_deploy.fleet.differences import MAX_FILES, contents, restarts, variables
from lekiwi_deploy.fleet.variables import Version
from lekiwi_deploy.wire.changes import Changed
from lekiwi_deploy.wire.ids import ObjectDigest
from lekiwi_deploy.wire.manifest import (
    Conditions,
    FileEntry,
    FileKind,
    HttpCheck,
    Manifest,
    Needs,
    PlatformTree,
    Service,
)
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.variables import Scope

AT = datetime(2026, 8, 21, 14, 2, tzinfo=UTC)
PI = Platform("linux", "aarch64", "glibc", "2.36", "3.11")
PC = Platform("linux", "x86_64", "glibc", "2.36", "3.11")
replace = msgspec.structs.replace


def file(path: str, size: int = 10, letter: str = "a") -> FileEntry:
    return FileEntry(path, FileKind.FILE, size, ObjectDigest(letter * 64))


def package(name: str, version: str) -> FileEntry:
    return file(f"deps/site/{name}-{version}.dist-info/METADATA")


def tree(content: str, *packages: tuple[str, str]) -> PlatformTree:
    return PlatformTree(content=content, files=tuple(package(*one) for one in packages))


WEB = Service(name="web", run=("python", "web.py"), content="w1", port=8000, env=("API_KEY",))
BASE = Service(name="base", run=("python", "base.py"), content="b1", exclusive="motors")
ONE = Manifest(
    project="kiwi",
    stack="python",
    files=(file("code/base.py"), file("code/web.py")),
    platforms={PI.key: tree("p1", ("numpy", "1.26.0"), ("Zope_Interface", "6.0"))},
    services=(BASE, WEB),
)


def test_the_same_release_differs_in_nothing() -> None:
    found = contents(ONE, ONE)
    assert (found.files, found.dependencies, found.config) == ((), (), ())
    assert restarts(ONE, ONE, [PI]) == ()


def test_dependencies_are_told_by_name_and_version() -> None:
    two = replace(ONE, platforms={PI.key: tree("p2", ("numpy", "2.0.0"), ("scipy", "1.14.0"))})
    assert contents(ONE, two).dependencies == (
        Changed(name="numpy", before="1.26.0", after="2.0.0"),
        Changed(name="scipy", before=None, after="1.14.0"),
        Changed(name="zope-interface", before="6.0", after=None),
    )
    assert restarts(ONE, two, [PI]) == ("base", "web")  # what is installed belongs to every service


def test_versions_that_platforms_have_apart_are_both_told() -> None:
    two = replace(ONE, platforms={PI.key: tree("p1", ("numpy", "1.26.0")), PC.key: tree("c1", ("numpy", "2.0.0"))})
    one = replace(ONE, platforms={PI.key: tree("p1", ("numpy", "1.26.0"))})
    assert contents(one, two).dependencies == (Changed(name="numpy", before="1.26.0", after="1.26.0, 2.0.0"),)


def test_files_are_told_by_size_and_content_without_byte_code_and_what_the_build_makes() -> None:
    two = replace(
        ONE,
        files=(
            file("code/.lekiwi-launch/kiwi-1.0.dist-info/METADATA"),
            file("code/__pycache__/web.pyc", letter="f"),
            file("code/new.py", 2_000),
            file("code/web.py", letter="b"),
        ),
    )
    assert contents(ONE, two).files == (
        Changed(name="base.py", before="10 B (aaaaaaa)", after=None),
        Changed(name="new.py", before=None, after="2.0 kB (aaaaaaa)"),
        Changed(name="web.py", before="10 B (aaaaaaa)", after="10 B (bbbbbbb)"),
    )


def test_of_many_files_the_rest_is_counted() -> None:
    many = replace(ONE, files=tuple(file(f"code/{number:03}") for number in range(MAX_FILES + 5)))
    found = contents(replace(ONE, files=()), many)
    assert (len(found.files), found.files_more) == (MAX_FILES, 5)


def test_settings_of_services_are_told_one_by_one_and_defaults_say_nothing() -> None:
    web = replace(WEB, port=9000, health=(HttpCheck(path="/health", retries=5),), needs=Needs(groups=("video",)))
    two = replace(ONE, services=(web,), conditions=Conditions(battery=30))
    told = {one.name: (one.before, one.after) for one in contents(ONE, two).config}
    assert told == {
        "base.exclusive": ("motors", None),
        "base.run": ("python base.py", None),
        "conditions.battery": (None, "30"),
        "web.health": (None, "http path /health retries 5"),
        "web.needs.groups": (None, "video"),
        "web.port": ("8000", "9000"),
    }


def test_only_the_service_whose_files_or_command_changed_is_started_again() -> None:
    assert restarts(ONE, replace(ONE, services=(BASE, replace(WEB, content="w2"))), [PI]) == ("web",)
    assert restarts(ONE, replace(ONE, services=(replace(BASE, run=("python", "-O", "base.py")), WEB)), []) == ("base",)
    checked = replace(WEB, health=(HttpCheck(path="/health"),), stop_grace_s=3)
    assert restarts(ONE, replace(ONE, services=(BASE, checked)), [PI]) == ()


def test_what_is_installed_for_other_platforms_than_the_robots_restarts_nothing() -> None:
    two = replace(ONE, platforms={**ONE.platforms, PC.key: tree("c1")})
    assert restarts(ONE, two, [PI]) == ()
    assert restarts(ONE, two, [PC]) == ("base", "web")


def test_a_variable_restarts_those_that_read_it() -> None:
    assert restarts(ONE, ONE, [PI], ["API_KEY"]) == ("web",)
    assert restarts(ONE, ONE, [PI], ["OTHER"]) == ()


def test_where_nothing_runs_everything_is_new() -> None:
    found = contents(None, ONE)
    assert all(one.before is None for one in (*found.files, *found.dependencies, *found.config))
    assert restarts(None, ONE, [PI]) == ("base", "web")


def test_variables_are_told_by_revision_never_by_value() -> None:
    def version(revision: int, name: str, fingerprint: str) -> Version:
        return Version(
            revision=revision, scope=Scope.ENVIRONMENT, of="production", name=name, sealed=b"secret123", secret=True,
            fingerprint=fingerprint, by="anna", at=AT,
        )  # fmt: skip

    before = {"API_KEY": version(3, "API_KEY", "aa"), "SAME": version(1, "SAME", "cc")}
    after = {"API_KEY": version(7, "API_KEY", "bb"), "SAME": version(5, "SAME", "cc"), "NEW": version(6, "NEW", "dd")}
    found = variables(before, after)
    assert found == (Changed(name="API_KEY", before="r3", after="r7"), Changed(name="NEW", before=None, after="r6"))
    assert b"secret123" not in msgspec.json.encode(found)
