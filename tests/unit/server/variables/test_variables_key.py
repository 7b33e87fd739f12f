"""Sealed values open only with their key, and only as what they were sealed as."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.fleet.variables import Version
from lekiwi_deploy.server.variables.key import VariablesKey, make_key, read_key
from lekiwi_deploy.wire.variables import Scope

KEY, OTHER = VariablesKey(bytes(range(32))), VariablesKey(bytes(range(1, 33)))


def sealed(value: str, key: VariablesKey = KEY) -> Version:
    return Version(
        revision=1,
        scope=Scope.ENVIRONMENT,
        of="staging",
        name="API_KEY",
        sealed=key.seal("arm", "environment", "staging", "API_KEY", value, secrets.token_bytes),
        secret=True,
        fingerprint="",
        by="anna",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@given(st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_is_opened_as_it_was(value: str) -> None:
    assert KEY.open("arm", sealed(value)) == value


def test_the_same_value_never_looks_the_same() -> None:
    assert sealed("secret123").sealed != sealed("secret123").sealed


@pytest.mark.parametrize("change", [{"scope": Scope.BRANCH}, {"of": "production"}, {"name": "API_KEYS"}])
def test_a_row_that_was_moved_to_another_place_does_not_open(change: dict[str, object]) -> None:
    with pytest.raises(Failed):
        KEY.open("arm", msgspec.structs.replace(sealed("secret123"), **change))
    with pytest.raises(Failed):
        KEY.open("leg", sealed("secret123"))


@given(st.integers(0, 48), st.integers(1, 255))
def test_one_changed_byte_is_noticed(at: int, flip: int) -> None:
    version = sealed("secret123")
    assert version.sealed is not None
    raw = bytearray(version.sealed)
    raw[at] ^= flip
    with pytest.raises(Failed) as caught:
        KEY.open("arm", msgspec.structs.replace(version, sealed=bytes(raw)))
    assert "secret123" not in caught.value.message
    assert caught.value.__cause__ is None


def test_another_key_opens_nothing_and_tells_itself_apart() -> None:
    with pytest.raises(Failed):
        OTHER.open("arm", sealed("secret123"))
    assert KEY.check != OTHER.check


def test_what_went_with_a_lost_key_is_said_so() -> None:
    with pytest.raises(Failed, match="lost"):
        KEY.open("arm", msgspec.structs.replace(sealed("x"), sealed=b""))


def test_fingerprints_are_equal_for_equal_values_of_a_name_in_a_project_only() -> None:
    print_ = KEY.fingerprint("arm", "A", "secret123")
    assert print_ == KEY.fingerprint("arm", "A", "secret123")
    assert len(print_) == 12
    others = [
        KEY.fingerprint("leg", "A", "secret123"),
        KEY.fingerprint("arm", "B", "secret123"),
        OTHER.fingerprint("arm", "A", "secret123"),
    ]
    assert print_ not in [*others, KEY.fingerprint("arm", "A", "secret124")]


def test_the_key_is_not_in_its_own_repr() -> None:
    assert KEY.secret.hex() not in repr(KEY)
    assert str(KEY.secret) not in repr(KEY)


def test_a_key_is_made_for_its_owner_alone_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "variables-key"
    assert read_key(path) is None
    made = make_key(path, secrets.token_bytes)
    assert read_key(path) == made
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 32 + "\n\n", "00" * 33])
def test_a_file_that_holds_no_key_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "variables-key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Failed, match="holds no key"):
        read_key(path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "variables-key"
    make_key(path, secrets.token_bytes)
    path.chmod(0o640)
    with pytest.raises(Failed, match="others may read") as caught:
        read_key(path)
    assert caught.value.next == (f"chmod 600 {path}",)
