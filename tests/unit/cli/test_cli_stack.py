import pytest

from lekiwi_deploy.cli.stack import guess, project_file
from lekiwi_deploy.client.project_schema import schema_line
from lekiwi_deploy.server.builds.project_file import read_project_file

STACKS = [
    ({"uv.lock", "pyproject.toml", "main.py", "tests/"}, "Python, uv"),
    ({"pyproject.toml"}, "Python, pyproject.toml"),
    ({"requirements.txt", "app.py"}, "Python, requirements.txt"),
    ({"package.json"}, "Node.js"),
    ({"manage.py", "requirements.txt"}, "Django"),
    ({"run"}, "a program named run"),
    ({"package.xml", "src/"}, "a ROS 2 package"),
    ({"index.html"}, "static pages"),
    ({"robot.py"}, "Python"),
    (set(), "unknown"),
]


@pytest.mark.parametrize(("names", "stack"), STACKS)
def test_a_folder_is_recognised(names: set[str], stack: str) -> None:
    assert guess(names).name == stack


@pytest.mark.parametrize(("names", "stack"), STACKS)
def test_the_file_says_nothing_until_a_comment_is_taken_away_and_then_what_the_server_reads(
    names: set[str], stack: str
) -> None:
    text = project_file(guess(names))
    assert stack in text
    assert all(not line or line.startswith("#") for line in text.splitlines())
    said = read_project_file("\n".join(line.removeprefix("# ") for line in text.splitlines()[2:]).encode())
    assert len(said.services) == 1
    assert [environment.name for environment in said.environments] == ["production"]
    assert said.build is not None
    assert said.test is not None
    assert read_project_file(text.encode()).services == ()


def test_an_editor_finds_the_schema_in_the_first_line() -> None:
    line = schema_line("http://kiwi.local:8470")
    text = project_file(guess({"run"}), line)
    assert text.splitlines()[0] == "# yaml-language-server: $schema=http://kiwi.local:8470/schema/lekiwi.yaml.json"
    assert read_project_file(text.encode()).services == ()
