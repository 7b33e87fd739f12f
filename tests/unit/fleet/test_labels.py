"""Selectors of labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.fleet.labels import parse_selector

V2 = {"hw": "v2", "site": "graz"}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("*", True),
        ("hw=v2", True),
        ("hw==v2", True),
        ("hw = v1", False),
        ("hw!=v1", True),
        ("role!=spare", True),
        ("hw=v2,site=linz", False),
        ("site in (graz, linz), hw", True),
        ("site not in (graz,linz)", False),
        ("site notin (wien)", True),
        ("!lab", True),
        ("!hw", False),
        ("lab", False),
        ("role=", False),
    ],
)
def test_a_selector_fits_the_labels_that_it_names(text: str, fits: bool) -> None:
    assert parse_selector(text).fits(V2) is fits


@pytest.mark.parametrize(
    "text", ["hw=", ",", "hw=v2,", "a b", "hw>2", "site in ()", "site in (a", "=v2", "hw=a;id", "x" * 1001]
)
def test_what_cannot_be_read_is_refused_with_the_forms(text: str) -> None:
    if text == "hw=":
        assert parse_selector(text).fits({"hw": ""}) is True
        return
    with pytest.raises(BadInput):
        parse_selector(text)


@given(some.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_selector(text).fits(V2)
    except BadInput as error:
        assert error.message


@given(
    some.dictionaries(some.sampled_from(["hw", "site", "role"]), some.sampled_from(["a", "b"])),
    some.sampled_from(["hw=a", "site", "role in (a,b)"]),
)
def test_the_opposite_term_fits_the_others(labels: dict[str, str], text: str) -> None:
    opposite = {"hw=a": "hw!=a", "site": "!site", "role in (a,b)": "role not in (a,b)"}[text]
    assert parse_selector(text).fits(labels) is not parse_selector(opposite).fits(labels)
