"""What a token looks like, and what of it is noticed without a database."""

from __future__ import annotations

import base64
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput, NotAllowed, Unauthenticated
from lekiwi_deploy.server.auth import KINDS, checked_token, new_token, presented_token, require, token_digest
from lekiwi_deploy.wire.api import Identity, Role

TOKEN = new_token("pat", secrets.token_bytes)


@given(st.binary(min_size=64, max_size=64), st.sampled_from(sorted(KINDS)))
def test_every_new_token_is_well_formed_and_of_its_kind(raw: bytes, kind: str) -> None:
    token = new_token(kind, lambda count: raw[:count])
    assert checked_token(token, kind) == token
    assert len(token) == len(f"lkd_{kind}_") + 32 + 6


@given(st.data())
def test_a_token_with_one_other_character_is_refused_and_never_repeated(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TOKEN) - 1))
    other = data.draw(st.sampled_from("abcxyzABC019_-").filter(lambda character: character != TOKEN[place]))
    wrong = TOKEN[:place] + other + TOKEN[place + 1 :]
    with pytest.raises(Unauthenticated) as told:
        checked_token(wrong)
    assert wrong not in told.value.message


@pytest.mark.parametrize("token", ["", "lkd_", TOKEN[:-1], TOKEN + "x", "x" * 1_000_000, "lkd_xyz_" + TOKEN[8:], "\0"])
def test_cut_long_and_foreign_tokens_are_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        checked_token(token)


def test_a_join_token_does_not_open_the_api() -> None:
    with pytest.raises(Unauthenticated):
        checked_token(new_token("enr", secrets.token_bytes), "pat", "ci", "svc", "ses")


def test_the_digest_is_sha256() -> None:
    assert len(token_digest(TOKEN)) == 32
    assert token_digest(TOKEN) != token_digest(TOKEN[::-1])


def test_a_token_comes_as_bearer_or_as_the_password_of_basic() -> None:
    basic = base64.b64encode(f"anna:{TOKEN}".encode()).decode()
    for header in (f"Bearer {TOKEN}", f"bearer  {TOKEN}", f"Basic {basic}", f"BASIC {basic}"):
        assert presented_token(header) == TOKEN


@pytest.mark.parametrize("password", ["", TOKEN, "x-oauth-basic"])
def test_a_token_as_the_user_name_is_refused_because_it_stands_in_an_address(password: str) -> None:
    basic = base64.b64encode(f"{TOKEN}:{password}".encode()).decode()
    with pytest.raises(BadInput, match="must not stand in the address"):
        presented_token(f"Basic {basic}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", TOKEN, "Basic ???", "Digest abc", "Basic /////w=="])
def test_anything_else_is_no_proof(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        presented_token(header)


@pytest.mark.parametrize("held", list(Role))
@pytest.mark.parametrize("needed", list(Role))
def test_each_role_may_do_all_that_the_ones_before_it_may(held: Role, needed: Role) -> None:
    order = [Role.VIEWER, Role.DEPLOYER, Role.OWNER]
    identity = Identity(name="anna", role=held, token="tok_1", expires_at=None)
    if order.index(held) >= order.index(needed):
        require(identity, needed)
    else:
        with pytest.raises(NotAllowed):
            require(identity, needed)
