from __future__ import annotations

import os
from pathlib import Path

from lekiwi_deploy.server.builds.pruning import KEPT, UNUSED_S, prune

NOW = 1_800_000_000.0


def used(path: Path, before_s: float, folder: bool = True) -> Path:
    """Something in the cache that was last used `before_s` ago."""
    marker = path / "entries.json" if folder else path
    marker.parent.mkdir(parents=True)
    marker.write_text("{}")
    os.utime(marker, (NOW - before_s, NOW - before_s))
    return path


def test_what_nobody_used_for_long_goes_and_the_newest_stay_however_old(tmp_path: Path) -> None:
    installed = tmp_path / "projects/arm/installed"
    trees = [used(installed / str(number), UNUSED_S * 2 + number) for number in range(KEPT + 2)]
    assert prune(tmp_path, NOW) == 2
    assert [tree.exists() for tree in trees] == [True] * KEPT + [False] * 2


def test_what_is_in_use_stays_however_many_there_are(tmp_path: Path) -> None:
    for number in range(KEPT + 5):
        used(tmp_path / f"projects/arm/installed/{number}", 60)
    assert prune(tmp_path, NOW) == 0


def test_old_byte_code_goes_and_a_cache_that_is_not_there_is_fine(tmp_path: Path) -> None:
    old = used(tmp_path / "projects/arm/pyc/cpython-311/ab/cd", UNUSED_S * 4, folder=False)
    assert prune(tmp_path, NOW) == 1 and not old.exists()
    assert prune(tmp_path / "nothing", NOW) == 0
