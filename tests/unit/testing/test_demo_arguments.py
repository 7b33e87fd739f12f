from pathlib import Path

import msgspec
import pytest

from lekiwi_deploy.testing import demo
from lekiwi_deploy.testing.story import HEADING, PAGE, Figures


def test_a_folder_without_the_example_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--example", str(tmp_path)]) == 2
    seen = capsys.readouterr()
    assert str(tmp_path) in seen.err
    assert seen.out == ""


def test_the_line_that_the_demo_changes_is_in_the_example() -> None:
    page = Path(__file__).parents[3] / "examples/lekiwi-robot" / PAGE
    assert HEADING in page.read_text().splitlines()


def test_the_figures_have_the_promised_names() -> None:
    assert [field.name for field in msgspec.structs.fields(Figures)] == [
        "robots",
        "first_deploy_s",
        "second_deploy_s",
        "second_deploy_bytes",
        "rollback_p50_ms",
        "rollback_max_ms",
        "bare_start_ms",
    ]
