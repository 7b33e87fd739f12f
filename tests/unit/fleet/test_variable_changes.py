"""What a wanted change of variables comes to."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet.variable_changes import Settled, check_change, settle
from lekiwi_deploy.fleet.variables import Version
from lekiwi_deploy.wire.variables import MAX_VALUE, ChangeVariables, Scope, SetVariable

AT = datetime(2026, 1, 1, tzinfo=UTC)


def there(name: str, value: str = "old", *, secret: bool = False, sealed: bytes | None = b"x") -> Version:
    return Version(
        revision=1,
        scope=Scope.PROJECT,
        of="",
        name=name,
        sealed=sealed,
        secret=secret,
        fingerprint=f"print of {value}",
        by="anna",
        at=AT,
    )


def wanted(
    *pairs: tuple[str, str],
    remove: tuple[str, ...] = (),
    replace: bool = False,
    existing: bool = False,
    prune: bool = False,
    keep: tuple[str, ...] = (),
) -> ChangeVariables:
    sets = tuple(SetVariable(name=name, value=value) for name, value in pairs)
    return ChangeVariables(
        scope=Scope.PROJECT, set=sets, remove=remove, replace=replace, existing=existing, prune=prune, keep=keep
    )


def settled(asked: ChangeVariables, *present: Version) -> Settled:
    return settle(
        asked,
        {one.name: one for one in present},
        "the project",
        "",
        guarded=False,
        print_of=lambda _, value: f"print of {value[:3]}",
    )


def test_names_are_told_apart_by_what_becomes_of_them() -> None:
    asked = wanted(("NEW", "1"), ("SAME", "old"), ("OTHER", "2"), remove=("GONE",), replace=True)
    found = settled(asked, there("SAME"), there("OTHER"), there("GONE"), there("LEFT"))
    assert (found.added, found.updated, found.removed, found.unchanged) == (("NEW",), ("OTHER",), ("GONE",), ("SAME",))
    assert found.changed == ("GONE", "NEW", "OTHER")
    assert [one.name for one in found.settings] == ["NEW", "OTHER"]


def test_a_name_that_is_there_cannot_be_added() -> None:
    with pytest.raises(Conflict, match="A of the project is there already") as caught:
        settled(wanted(("A", "1")), there("A"))
    assert caught.value.next == ("lekiwi env update A",)


def test_a_name_that_was_removed_can_be_added_again() -> None:
    assert settled(wanted(("A", "1")), there("A", sealed=None)).added == ("A",)


def test_a_name_that_is_not_there_cannot_be_updated_or_removed() -> None:
    with pytest.raises(NotFound, match="no A"):
        settled(wanted(("A", "1"), replace=True, existing=True))
    with pytest.raises(NotFound, match="no A"):
        settled(wanted(remove=("A",)), there("A", sealed=None))


def test_a_value_whose_key_is_lost_is_set_again_though_it_is_the_same() -> None:
    assert settled(wanted(("A", "old"), replace=True), there("A", sealed=b"")).updated == ("A",)


def test_becoming_a_secret_is_a_change() -> None:
    asked = ChangeVariables(scope=Scope.PROJECT, set=(SetVariable(name="A", value="old", secret=True),), replace=True)
    assert settled(asked, there("A")).updated == ("A",)


def test_pruning_leaves_what_is_set_and_what_is_to_be_kept() -> None:
    asked = wanted(("A", "old"), replace=True, prune=True, keep=("B",))
    assert settled(asked, there("A"), there("B"), there("C"), there("D", sealed=None)).removed == ("C",)


def test_no_value_shows_in_what_is_printed_of_a_change() -> None:
    assert "hunter2" not in repr(settled(wanted(("A", "hunter2"))))


@pytest.mark.parametrize(
    "name",
    [
        "", "1A", "A-B", "A B", "A=B", "Ä", "A\n", "PATH", "LD_PRELOAD", "PYTHONPATH", "PYTHONHOME", "LEKIWI_ROBOT", "PORT", "BASH_ENV",
        "IFS", "x" * 129,
    ],
)  # fmt: skip
def test_names_that_are_none_or_change_how_programs_load_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        check_change(wanted((name, "1")))


@pytest.mark.parametrize(
    "value", ["a\0b", "a\rb", "\x1b[31m", "\x7f", "\ud800", "x" * (MAX_VALUE + 1), "ü" * MAX_VALUE]
)
def test_values_that_no_service_could_be_given_are_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_change(wanted(("A", f"hunter2{value}")))
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "value", ["", "a b", "line\nline\n", "\ttab", "%s $HOME `id` \"'\\", "ünï 🤖", "x" * MAX_VALUE]
)
def test_any_other_text_is_a_value(value: str) -> None:
    check_change(wanted(("A", value)))


def test_a_change_that_is_none_or_contradicts_itself_is_refused() -> None:
    with pytest.raises(BadInput, match="nothing"):
        check_change(wanted())
    with pytest.raises(BadInput, match="twice"):
        check_change(wanted(("A", "1"), ("A", "2")))
    with pytest.raises(BadInput, match="both"):
        check_change(wanted(("A", "1"), remove=("A",)))
