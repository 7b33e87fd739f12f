"""Small files travel in groups."""

from __future__ import annotations

from content_samples import LINK, entry
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.content import grouping
from lekiwi_deploy.content.digests import object_digest
from lekiwi_deploy.content.grouping import GROUP, GROUP_BASES, GROUP_PARTS, RELATED, SMALL, plan_groups
from lekiwi_deploy.content.stream import MAX_BASES, MAX_PARTS, MAX_SEGMENT
from lekiwi_deploy.wire.manifest import FileEntry, FileKind


def sized(path: str, size: int) -> FileEntry:
    return FileEntry(path, FileKind.FILE, size, object_digest(path.encode()))


def test_a_robot_can_unpack_the_largest_group() -> None:
    assert max(GROUP, SMALL) <= MAX_SEGMENT
    assert GROUP_BASES + RELATED <= MAX_BASES
    assert 2 * GROUP_PARTS <= MAX_PARTS


SIZES = st.integers(1, SMALL)


@given(st.lists(st.tuples(SIZES, st.none() | st.integers(1, 3 << 20)), max_size=40))
def test_every_file_is_in_one_group_within_the_bounds(files: list[tuple[int, int | None]]) -> None:
    small = [sized(f"code/{number:03}.py", size) for number, (size, _) in enumerate(files)]
    bases = {
        one.path: sized(f"old/{one.path}", base)
        for one, (_, base) in zip(small, files, strict=True)
        if base is not None
    }
    old = [*bases.values(), *(sized(f"code/other-{number}.py", 100_000) for number in range(9))]
    groups = plan_groups(small, bases, old)
    assert [part for group in groups for part in group.parts] == small
    for group in groups:
        assert group.parts
        assert len(group.parts) <= GROUP_PARTS
        assert sum(part.size for part in group.parts) <= GROUP
        assert sum(min(base.size, GROUP_BASES) for base in group.bases) <= GROUP_BASES
        assert {bases[part.path] for part in group.parts if part.path in bases} <= set(group.bases)


def test_files_that_are_like_none_borrow_from_their_neighbours() -> None:
    new = sized("code/policies/new/model.py", 50_000)
    old = [
        sized("code/policies/act/model.py", 40_000),
        sized("code/policies/new/config.py", 4_000),
        sized("code/scripts/run.py", 9_000),
        sized("code/policies/new/data.json", 1_000),
        entry("code/policies/new/link.py", b"x.py", LINK),
    ]
    (group,) = plan_groups([new], {}, old)
    assert [base.path for base in group.bases] == [
        "code/scripts/run.py",
        "code/policies/act/model.py",
        "code/policies/new/config.py",
    ]


def test_what_was_only_changed_borrows_nothing() -> None:
    changed, base = sized("code/a.py", 50_000), sized("code/a.py", 49_000)
    (group,) = plan_groups([changed], {"code/a.py": base}, [base, sized("code/b.py", 1000)])
    assert group.bases == (base,)


def test_borrowing_has_a_limit_and_a_first_deployment_does_not_borrow() -> None:
    old = [sized(f"code/{number}.py", 100_000) for number in range(50)]
    (group,) = plan_groups([sized("code/new.py", 10_000)], {}, old)
    assert sum(base.size for base in group.bases) <= RELATED
    many = [sized(f"code/new-{number:03}.py", 100_000) for number in range(30)]
    assert all(not one.bases for one in plan_groups(many, {}, old))
    assert grouping.plan_groups([], {}, old) == []
