"""From where a change comes, and why, out of what a request says."""

from __future__ import annotations

import pytest

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.origin import coming_from, of_request, origin, program_of, reason, reason_of_request

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("lekiwi/0.2.0", "lekiwi 0.2.0"),
        ("git/2.39.5", "git 2.39.5"),
        ("curl/8.0", "curl 8.0"),
        (BROWSER, "Firefox"),
        ("", ""),
        ("\x1b[31mred", "[31mred"),
    ],
)
def test_a_program_is_said_shortly(said: str, shown: str) -> None:
    assert program_of(said) == shown


def test_a_request_comes_from_an_address_and_a_program() -> None:
    assert (
        of_request({"client": ("10.0.0.7", 1), "headers": [(b"user-agent", b"lekiwi/0.2.0")]})
        == "10.0.0.7 · lekiwi 0.2.0"
    )
    assert of_request({"client": None, "headers": []}) == "?"


def test_what_nobody_asked_for_comes_from_the_server() -> None:
    assert (origin(), reason()) == ("server", "")
    with coming_from("10.0.0.7 · git 2.39.5", "it smokes"):
        assert (origin(), reason()) == ("10.0.0.7 · git 2.39.5", "it smokes")
    assert (origin(), reason()) == ("server", "")


def test_a_reason_may_hold_any_letters_but_not_too_many() -> None:
    assert reason_of_request({"headers": [(b"lekiwi-reason", b"gr%C3%BC%C3%9Fe")]}) == "grüße"
    with pytest.raises(BadInput, match="at most 1000 characters"):
        reason_of_request({"headers": [(b"lekiwi-reason", b"x" * 1001)]})
