import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def rules() -> ModuleType:
    path = Path(__file__).parents[1] / "repository_rules.py"
    spec = importlib.util.spec_from_file_location("repository_rules", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("path", "text", "broken"),
    [
        ("requirements/dev.txt", "--index-url https://example.org/simple\n", "address"),
        ("dashboard/package-lock.json", '{"resolved": "x"}', "resolved"),
        ("docs/a.md", "see " + ".".join(("pypi", "org")), "registry"),
        ("src/long.py", '"""Many things."""\n' + "x = 1\n" * 501, "split it"),
        ("src/long.py", '"""A table. Long because it is one."""\n' + "x = 1\n" * 501, ""),
        ("src/short.py", "x = 1\n", ""),
    ],
)
def test_each_rule_finds_what_breaks_it(rules: ModuleType, tmp_path: Path, path: str, text: str, broken: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(text)
    found = list(rules.broken_rules(tmp_path, [Path(path)]))
    assert bool(found) == bool(broken), found
    assert all(broken in line for line in found)


def test_a_folder_of_this_machine_is_found(rules: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text(f"in {tmp_path}/b\n")
    assert list(rules.broken_rules(tmp_path, [Path("a.md")]))


def test_test_modules_have_names_of_their_own(rules: ModuleType, tmp_path: Path) -> None:
    paths = [Path("tests/unit/test_a.py"), Path("tests/integration/test_a.py")]
    assert list(rules.broken_rules(tmp_path, paths)) == ["tests: 2 modules are named test_a.py"]
