"""Which old file a new one is patched against."""

from __future__ import annotations

import pytest
from content_samples import LINK, entry

from lekiwi_deploy.content.bases import choose_bases

BIG = b"x" * 1000


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("code/a.py", "code/a.py"),
        ("deps/numpy-2.1.0.dist-info/RECORD", "deps/numpy-1.26.4.dist-info/RECORD"),
        ("deps/x.libs/libavcodec-76c43bf0.so.59.37.100", "deps/x.libs/libavcodec-9aae324f.so.59.37.100"),
        ("deps/p/_x.cpython-312-x86_64-linux-gnu.so", "deps/p/_x.cpython-311-x86_64-linux-gnu.so"),
        ("code/new/robot.py", "code/old/robot.py"),
        ("code/robot_driver_v2.py", "code/robot_driver_old.py"),
    ],
)  # fmt: skip
def test_the_most_alike_is_found_by_name(new: str, old: str) -> None:
    others = [
        entry(path, BIG)
        for path in ("code/zebra.py", "deps/other.so", "deps/numpy-1.26.4.dist-info/WHEEL", "code/c/main.py")
    ]
    wanted = entry(old, BIG)
    assert choose_bases([entry(new, BIG + b"y")], [*others, wanted]) == {new: wanted}


def test_of_several_the_nearest_in_size_is_taken() -> None:
    old = [entry("a/x-1.txt", b"x" * 100), entry("a/x-2.txt", b"x" * 990), entry("a/x-3.txt", b"x" * 5000)]
    assert choose_bases([entry("a/x-4.txt", BIG)], old) == {"a/x-4.txt": old[1]}


def test_a_file_like_no_other_has_no_base() -> None:
    assert choose_bases([entry("code/new.bin", BIG)], [entry("code/a.py", BIG), entry("docs/x.md", BIG)]) == {}


def test_the_same_name_elsewhere_must_be_of_like_size() -> None:
    assert choose_bases([entry("b/__init__.py", BIG)], [entry("a/__init__.py", b"x" * 40)]) == {}


def test_links_and_tiny_files_take_no_part() -> None:
    old = [entry("a", b"x" * 40, LINK), entry("b", b"tiny")]
    assert choose_bases([entry("a", BIG), entry("b", BIG), entry("c", b"tiny")], old) == {}
