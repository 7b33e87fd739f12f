"""No secret, no line of one, and no piece of one that a cut left is shown; everything else is as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.log_lines import MAX_LINE, LineSplitter
from lekiwi_deploy.agent.variables.masking import HIDDEN, Mask

LETTERS = st.text("abc123 .$", min_size=6, max_size=12).filter(lambda text: text.strip() == text)


def mask(*values: str) -> Mask:
    made = Mask()
    made.use(values)
    return made


def test_without_secrets_a_line_is_the_very_same() -> None:
    line = "x" * 10
    assert Mask().hide(line) is line
    assert mask("short").hide("short is shown") == "short is shown"


def test_every_occurrence_is_hidden_and_the_longest_first() -> None:
    assert mask("secret", "secret123").hide("a secret123 b secret c") == f"a {HIDDEN} b {HIDDEN} c"


def test_of_a_secret_with_several_lines_each_is_hidden() -> None:
    hides = mask("-----BEGIN-----\r\n  line-one\nno\nline-two-\n")
    assert [hides.hide(text) for text in ("-----BEGIN-----", "line-one", "no", "x line-two- y")] == [
        HIDDEN, HIDDEN, "no", f"x {HIDDEN} y",
    ]  # fmt: skip


@given(st.lists(LETTERS, min_size=1, max_size=5), st.lists(st.text("abc123 .$", max_size=20), max_size=4), st.data())
def test_no_secret_is_left_in_any_line(secrets: list[str], around: list[str], data: st.DataObject) -> None:
    parts = data.draw(st.permutations([*secrets, *around]))
    shown = mask(*secrets).hide("".join(parts))
    assert not [secret for secret in secrets if secret in shown]


@given(LETTERS, st.integers(min_value=3))
def test_half_a_secret_at_a_cut_is_not_shown(secret: str, at: int) -> None:
    at = 3 + at % (len(secret) - 3) if len(secret) > 3 else 3
    hides = mask(secret)
    assert hides.hide(f"»{secret[:at]}", False, True) == f"»{HIDDEN}"
    assert hides.hide(f"{secret[-at:]}«", True, False).endswith(f"{HIDDEN}«")
    assert hides.hide(f"»{secret[:2]}", False, False) == f"»{secret[:2]}"


@pytest.mark.parametrize("before", range(MAX_LINE - 10, MAX_LINE + 1))
def test_a_secret_across_the_longest_line_does_not_leak_half(before: int) -> None:
    splitter = LineSplitter(mask("secret1234").hide)
    (line,) = splitter.feed(b"." * before + b"secret1234 and more\n")
    assert "secr" not in line
    assert "bytes more" in line


def test_a_secret_that_was_written_in_two_parts_is_hidden_in_both() -> None:
    splitter = LineSplitter(mask("secret1234").hide)
    assert splitter.feed(b"the key is secre") == []
    assert splitter.flush() == [f"the key is {HIDDEN}"]
    assert splitter.feed(b"t1234 as you see\nt1234 again\n") == [f"{HIDDEN} as you see", "t1234 again"]


def test_what_follows_on_skipped_output_may_be_the_end_of_a_secret() -> None:
    splitter = LineSplitter(mask("secret1234").hide)
    splitter.feed(b"x\n")
    assert splitter.flush(skipped=True) == []
    assert splitter.feed(b"ret1234 x\n") == [f"{HIDDEN} x"]
