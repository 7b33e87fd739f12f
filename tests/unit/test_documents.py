"""What the documents say exists."""

import re
import shlex
from pathlib import Path

import click
import pytest

from lekiwi_deploy.cli.program import Program
from lekiwi_deploy.server.builds.project_file import read_project_file

TOP = Path(__file__).parents[2]
DOCUMENTS = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("examples/*/README.md")])


def _code(text: str) -> str:
    return "\n".join(re.findall(r"^```(?:sh|yaml|)\n(.*?)^```", text, re.M | re.S))


def test_the_examples_project_file_says_what_it_means() -> None:
    spec = read_project_file((TOP / "examples/lekiwi-robot/lekiwi.yaml").read_bytes())
    base, web = spec.services
    assert (base.name, base.exclusive, base.port) == ("base", "motors", None)
    assert (web.name, web.exclusive, web.port) == ("web", None, 8000)
    assert base.env == ("KIWI_COMMAND_PORT", "KIWI_OBSERVATION_PORT")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_make_targets_exist(document: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (TOP / "Makefile").read_text(), re.M))
    for line in _code(document.read_text()).splitlines():
        if line.startswith("make "):
            words = shlex.split(line, comments=True)[1:]
            assert {word for word in words if "=" not in word} <= targets, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(TOP)))
def test_every_lekiwi_command_that_is_shown_exists_with_its_options(document: Path) -> None:
    for line in _code(document.read_text()).splitlines():
        if not re.match(r"(\$ )?lekiwi [a-z]", line) or line.startswith("lekiwi server"):
            continue
        words = shlex.split(line.removeprefix("$ ").partition(" < ")[0], comments=True)[1:]
        command: click.Command = Program()
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words.pop(0))
            assert found is not None, line
            command = found
        known = {name for parameter in command.params for name in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= known, line
