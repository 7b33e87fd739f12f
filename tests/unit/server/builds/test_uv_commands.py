from __future__ import annotations

import pytest

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.listing import listing_of
from lekiwi_deploy.server.builds.python_project import Source, python_project, requirement_names
from lekiwi_deploy.server.builds.uv_commands import (
    explained,
    install_command,
    platform_name,
    split_local,
    without_wheels,
)
from lekiwi_deploy.wire.platforms import Platform

PI = Platform("linux", "aarch64", "glibc", "2.36", "3.11")


@pytest.mark.parametrize(
    ("platform", "name"),
    [
        (PI, "aarch64-manylinux_2_36"),
        (Platform("linux", "x86_64", "glibc", "2.31", "3.9"), "x86_64-manylinux_2_31"),
        (Platform("linux", "x86_64", "glibc", "2.29", "3.9"), "x86_64-manylinux_2_28"),
        (Platform("linux", "x86_64", "glibc", "2.17", "3.9"), "x86_64-manylinux_2_17"),
        (Platform("linux", "x86_64", "glibc", "2.99", "3.13"), "x86_64-manylinux_2_40"),
        (Platform("linux", "aarch64", "musl", "1.2.4", "3.12"), "aarch64-unknown-linux-musl"),
        (Platform("macos", "arm64", "", "", "3.12"), "aarch64-apple-darwin"),
    ],
)
def test_platforms_have_the_names_that_uv_knows(platform: Platform, name: str) -> None:
    assert platform_name(platform) == name


def test_a_platform_that_nobody_makes_wheels_for_is_named() -> None:
    with pytest.raises(BadInput, match="linux-armv7l"):
        platform_name(Platform("linux", "armv7l", "glibc", "2.36", "3.11"))


def test_only_what_was_resolved_is_installed_and_nothing_is_built() -> None:
    command = install_command("/cache/r.txt", "/cache/deps", PI, only_wheels=True)
    assert command[:3] == ["uv", "pip", "install"] and "--no-deps" in command and "--only-binary" in command


COMPLAINT = """  × No solution found when resolving dependencies:
  ╰─▶ Because evdev==1.7.1 has no wheels with a matching platform tag (e.g.,
      `manylinux_2_36_aarch64`) and you require evdev==1.7.1, we can conclude
      that your requirements are unsatisfiable.
"""


def test_a_dependency_without_a_wheel_is_named_in_one_line() -> None:
    assert without_wheels(COMPLAINT) == ["evdev"]
    assert without_wheels("Because only My.Pkg<=2 is available and My.Pkg has no usable wheels and you") == ["my-pkg"]
    line = explained(COMPLAINT, PI)
    assert line.startswith("evdev has no wheel for linux-aarch64 with Python 3.11") and "\n" not in line


def test_a_dependency_that_does_not_exist_is_named() -> None:
    text = "× No solution found:\n  ╰─▶ Because nosuchthing was not found in the package registry and you require"
    assert explained(text, PI) == "there is no package nosuchthing in the package index"


def test_a_dependency_for_a_newer_python_is_named() -> None:
    text = (
        "× No solution found\n  ╰─▶ Because the requested Python version (>=3.11) does not satisfy Python>=3.12 and "
        "django>=6.0,<=6.0.10 depends on Python>=3.12, we can conclude that django>=6.0,<=6.0.10 cannot be used."
    )
    assert explained(text, PI).startswith("django needs Python>=3.12, and there is Python 3.11 on linux-aarch64")


def test_any_other_complaint_is_one_line() -> None:
    line = explained("error: something\n  odd\n" + "x" * 1000, PI)
    assert line.startswith("the dependencies cannot be resolved for linux-aarch64") and "something odd" in line
    assert "\n" not in line and len(line) < 600


def test_folders_of_the_project_itself_are_not_asked_of_the_index() -> None:
    text, folders = split_local(
        "-e .\nflask==3\n./libs/kiwi\n-e ./packages/x ; python_version > '3'\nbase @ ./base\n# c\n"
    )
    assert text == "flask==3\n# c\n"
    assert folders == [".", "libs/kiwi", "packages/x", "base"]


def test_names_of_requirements_are_found_and_options_passed_over() -> None:
    lines = [
        "Flask >= 2",
        "-r other.txt",
        "# c",
        "fastapi[standard]",
        "a.b_c==1; x",
        "git+https://x/y",
        "--index-url x",
        "uvicorn[standard]",
    ]
    assert requirement_names(lines) == {"flask", "fastapi", "uvicorn", "a-b-c"}


def test_a_pyproject_that_only_configures_tools_leaves_the_requirements_file() -> None:
    project = python_project(
        listing_of({"pyproject.toml": b"[tool.black]\n", "requirements.txt": b"flask\n", "a.py": b""})
    )
    assert project is not None and project.source is Source.REQUIREMENTS and project.names == {"flask"}


def test_what_tests_need_is_found_wherever_it_stands() -> None:
    toml = b'[project]\nname="x"\n[project.optional-dependencies]\ntest=["pytest"]\n[dependency-groups]\ndev=["ruff"]\n'
    project = python_project(
        listing_of({"pyproject.toml": toml, "requirements-dev.txt": b"hypothesis\n", "src/x/__init__.py": b""})
    )
    assert project is not None
    assert project.dev_names == {"pytest", "ruff", "hypothesis"}
    assert (project.dev_groups, project.dev_extras, project.dev_files) == (
        ("dev",),
        ("test",),
        ("requirements-dev.txt",),
    )
    assert project.folders == (".", "src")
