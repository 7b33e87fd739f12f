"""Ignoring follows git, checked against git itself in tests/integration; here, rule by rule."""

from __future__ import annotations

import pytest

from lekiwi_deploy.content.ignore import ALWAYS, IgnoreRules


@pytest.mark.parametrize("name", sorted(ALWAYS))
def test_what_never_belongs_into_a_deployment_cannot_be_brought_back(name: str) -> None:
    rules = IgnoreRules([f"!{name}"]).with_gitignore(f"!{name}\n").below("sub").with_gitignore(f"!{name}/\n")
    assert rules.skips(name, folder=True)


def test_the_deepest_gitignore_decides() -> None:
    top = IgnoreRules().with_gitignore("*.log\n")
    below = top.below("a").with_gitignore("!x.log\n")
    assert top.skips("x.log", folder=False)
    assert not below.skips("x.log", folder=False)
    assert below.skips("y.log", folder=False)
    assert top.below("b").skips("x.log", folder=False)


def test_a_pattern_with_a_slash_is_relative_to_its_folder() -> None:
    rules = IgnoreRules().below("a").with_gitignore("/x\nb/y\n")
    assert rules.skips("x", folder=False)
    assert not rules.below("b").skips("x", folder=False)
    assert rules.below("b").skips("y", folder=False)
    assert not rules.below("c").skips("y", folder=False)


def test_a_pattern_with_a_slash_at_its_end_is_for_folders() -> None:
    rules = IgnoreRules().with_gitignore("build/\n")
    assert rules.skips("build", folder=True)
    assert not rules.skips("build", folder=False)


def test_excludes_are_relative_to_the_root_and_come_first() -> None:
    rules = IgnoreRules(["data/*.bin", "*.md"]).with_gitignore("!a.md\n")
    assert rules.skips("a.md", folder=False)
    assert rules.below("data").skips("x.bin", folder=False)
    assert not rules.skips("x.bin", folder=False)


def test_text_without_patterns_changes_nothing() -> None:
    rules = IgnoreRules()
    assert rules.with_gitignore("\n# comment\n   \n") is rules
