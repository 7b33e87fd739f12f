"""`lekiwi deploy` leaves at home what git would: the same folder, asked of git itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lekiwi_deploy.content.ignore import IgnoreRules
from lekiwi_deploy.content.tree import read_tree

FILES = """
a.py a.log keep.log build/x build/keep src/build/x src/a.tmp src/keep.tmp src/deep/b.log src/deep/er/c.tmp data/1.bin data/raw/2.bin
data/raw/keep.bin docs/index.md docs/api/x.md node_modules/a/index.js vendor/node_modules/b/index.js spaced\\ name.txt foo/bar/baz.txt
foo/baz.txt #hash !bang .env .env.example sub/.env dist/app.js sub/dist/app.js logs/debug.txt logs/important/debug.txt
""".replace("\\ ", "\0").split()

IGNORES = {
    ".gitignore": (
        "*.log\n!keep.log\n/build/\nnode_modules/\n**/raw/*\n!**/raw/keep.bin\nfoo/**/baz.txt\n\\#hash\n\\!bang\n"
        ".env\n!.env.example\ndist\nlogs/**\n!logs/important/\n"
    ),
    "src/.gitignore": "*.tmp\n!keep.tmp\n",
    "src/deep/.gitignore": "!b.log\n*\n!er/\n!er/**\n",
    "docs/.gitignore": "/api\n",
}


@pytest.mark.engine
def test_the_same_files_are_left_at_home(tmp_path: Path) -> None:
    for name in FILES:
        path = tmp_path / name.replace("\0", " ")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    for name, text in IGNORES.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = subprocess.run(
        ["git", "-C", tmp_path, "ls-files", "-z", "--others", "--exclude-per-directory=.gitignore"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert [entry.path for entry in read_tree(tmp_path, ignore=IgnoreRules())] == sorted(
        filter(None, listed.split("\0"))
    )
