"""Only the robot opens what was sealed for it; damage and foreign keys are told without a word of what is inside."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.sealing import seal, unseal
from lekiwi_deploy.wire.values import why_not_given

SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
PUBLIC = SigningKey(SEED).verify_key.encode()
TEXT = st.text(st.characters(codec="utf-8"), max_size=200)


@given(st.dictionaries(TEXT, TEXT, max_size=8))
def test_what_is_sealed_is_opened_as_it_was(values: dict[str, str]) -> None:
    assert unseal(seal(values, PUBLIC), SEED) == values


def test_the_same_values_never_look_the_same() -> None:
    assert seal({"A": "1"}, PUBLIC) != seal({"A": "1"}, PUBLIC)


@pytest.mark.parametrize("text", ["", "!", "AAAA", "é", base64.b64encode(b"x" * 100).decode()])
def test_what_is_no_seal_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="damaged"):
        unseal(text, SEED)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_is_noticed(at: int, flip: int) -> None:
    raw = bytearray(base64.b64decode(seal({"API_KEY": "secret123"}, PUBLIC)))
    raw[at % len(raw)] ^= flip
    with pytest.raises(BadInput):
        unseal(base64.b64encode(raw).decode(), SEED)


def test_another_robot_cannot_open_it_and_learns_nothing() -> None:
    with pytest.raises(BadInput) as caught:
        unseal(seal({"API_KEY": "secret123"}, PUBLIC), OTHER)
    assert "another key" in caught.value.message
    assert "secret123" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_newlines_and_tabs_can_be_given_to_a_service_and_other_control_characters_cannot() -> None:
    assert why_not_given("-----BEGIN KEY-----\n\tabc\n") is None
    assert why_not_given("ünï \u2028 \U0001f916") is None
    for value in ("a\rb", "\0", "\x1b[0m", "\x7f"):
        assert "control character" in (why_not_given(value) or "")
    assert why_not_given("\ud800") == "is not valid Unicode"
