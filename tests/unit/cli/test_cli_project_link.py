from pathlib import Path

import pytest

from lekiwi_deploy.cli import project
from lekiwi_deploy.cli.project import Link
from lekiwi_deploy.errors import BadInput


def test_a_link_holds_for_the_folders_below_it(tmp_path: Path) -> None:
    below = tmp_path / "src" / "kiwi"
    below.mkdir(parents=True)
    assert project.find(below) is None
    project.write(tmp_path, Link(project="kiwi", environment="staging", api="https://one.example"))
    found = project.find(below)
    assert found is not None
    assert (found.folder, found.link.project, found.link.environment) == (tmp_path, "kiwi", "staging")


def test_a_link_ignores_itself_and_goes_without_a_trace(tmp_path: Path) -> None:
    project.write(tmp_path, Link(project="kiwi"))
    assert (tmp_path / ".lekiwi" / ".gitignore").read_text() == "*\n"
    found = project.find(tmp_path)
    assert found is not None
    project.remove(found)
    assert list(tmp_path.iterdir()) == []


def test_what_else_lies_there_stays(tmp_path: Path) -> None:
    project.write(tmp_path, Link(project="kiwi"))
    (tmp_path / ".lekiwi" / "hashes").write_text("x")
    found = project.find(tmp_path)
    assert found is not None
    project.remove(found)
    assert (tmp_path / ".lekiwi" / "hashes").exists()
    assert project.find(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"project": 3}', '{"project": "../x"}', '{"project": "Kiwi Bot"}'])
def test_a_damaged_link_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / ".lekiwi").mkdir()
    (tmp_path / ".lekiwi" / "project.json").write_text(text)
    with pytest.raises(BadInput):
        project.find(tmp_path)


@pytest.mark.parametrize(
    ("folder", "name"), [("kiwi", "kiwi"), ("My Robot!", "my-robot"), ("a__b", "a__b"), ("...x", "x"), ("é-1", "1")]
)
def test_a_folder_gives_a_project_its_name(tmp_path: Path, folder: str, name: str) -> None:
    assert project.name_for(tmp_path / folder) == name


@pytest.mark.parametrize("folder", ["é", "---", "current"])
def test_a_folder_whose_name_is_no_project_name_is_told(tmp_path: Path, folder: str) -> None:
    with pytest.raises(BadInput):
        project.name_for(tmp_path / folder)
