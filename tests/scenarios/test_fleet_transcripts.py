"""What becomes of scripted fleets is as it was written down: a change of behaviour is a change of these texts, made by `make transcripts`."""

from __future__ import annotations

import pytest
from fleet_stories import HERE, STORIES, told


@pytest.mark.parametrize("name", sorted(STORIES))
def test_the_story_goes_as_it_is_written_down(name: str) -> None:
    written = HERE / f"{name}.txt"
    assert written.exists(), f"{written.name} is missing: make transcripts"
    assert told(name) == written.read_text(encoding="utf-8"), (
        f"{name} goes otherwise now; if that is meant: make transcripts, and read the diff"
    )


def test_every_text_has_its_story() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == set(STORIES)
