"""Content tickets: for one robot, one manifest, and a quarter of an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import Unauthenticated
from lekiwi_deploy.server import tickets
from lekiwi_deploy.wire.ids import ManifestDigest, RobotId

KEY = b"k" * 32
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DIGEST = ManifestDigest("ab" * 32)


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,49}", fullmatch=True))
def test_a_ticket_says_who_may_have_what(robot: str) -> None:
    claims = tickets.verify(KEY, tickets.issue(KEY, RobotId(robot), DIGEST, NOW), NOW)
    assert (claims.robot, claims.digest) == (robot, DIGEST)
    assert claims.expires_at == NOW + tickets.LIFETIME


@given(st.data())
def test_a_changed_ticket_is_refused(data: st.DataObject) -> None:
    ticket = tickets.issue(KEY, RobotId("r-1"), DIGEST, NOW)
    place = data.draw(st.integers(0, len(ticket) - 1))
    other = data.draw(st.characters().filter(lambda character: character != ticket[place]))
    with pytest.raises(Unauthenticated):
        tickets.verify(KEY, ticket[:place] + other + ticket[place + 1 :], NOW)


@given(st.text(max_size=500))
def test_arbitrary_text_is_refused(text: str) -> None:
    with pytest.raises(Unauthenticated):
        tickets.verify(KEY, text, NOW)


def test_another_servers_ticket_and_an_expired_one_are_refused() -> None:
    ticket = tickets.issue(KEY, RobotId("r-1"), DIGEST, NOW)
    with pytest.raises(Unauthenticated):
        tickets.verify(b"other" * 8, ticket, NOW)
    with pytest.raises(Unauthenticated):
        tickets.verify(KEY, ticket, NOW + tickets.LIFETIME)
    tickets.verify(KEY, ticket, NOW + tickets.LIFETIME - timedelta(seconds=1))
