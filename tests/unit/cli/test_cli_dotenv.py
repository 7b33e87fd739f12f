"""`.env` files: read strictly, and written so that the same is read again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.cli.dotenv import file_text, line_for, read_dotenv, write_only_line
from lekiwi_deploy.errors import BadInput

VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], include_characters="\n\t"), max_size=60)


@given(st.dictionaries(st.from_regex(r"X_[A-Z0-9_]{0,8}", fullmatch=True), VALUES, max_size=6))
def test_what_is_written_is_read_again(values: dict[str, str]) -> None:
    text = file_text("of a test", [line_for(name, value) for name, value in values.items()])
    assert read_dotenv(text, ".env").values == values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=1", "1"),
        ("  export A = 1  ", "1"),
        ("A=", ""),
        ("A=''", ""),
        ("A=a=b#c", "a=b#c"),
        ("A=two words", "two words"),
        ("A=$HOME", "$HOME"),
        ("A='it \"is\" $so \\n'", 'it "is" $so \\n'),
        ("A='x' # why", "x"),
        ('A="a\\nb\\t\\"c\\" \\$d \\\\"', 'a\nb\t"c" $d \\'),
        ('A="first\nsecond"', "first\nsecond"),
        ("A='first\nsecond'", "first\nsecond"),
        ("\ufeffA=1", "1"),
        ("A=1\r\n", "1"),
        ("A='a\r\nb'", "a\nb"),
    ],
)
def test_values_are_taken_as_they_stand(text: str, value: str) -> None:
    assert read_dotenv(text, ".env").values == {"A": value}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nhunter2", "line 2: expected NAME=value"),
        ("=hunter2", "line 1: expected"),
        ("A-B=hunter2", "line 1: expected"),
        ("A=1\nA=hunter2", "line 2: A is set a second time"),
        ("A=it's hunter2", "line 1: the value of A has"),
        ("A=hunter2 # why", "line 1: the value of A has"),
        ("A='hunter2", "line 1: the value of A is never closed"),
        ("A='hunter2'x", "line 1: after the value of A there is more"),
        ('A="hunter2\\x"', "line 1: the value of A has \\x"),
        ("\n\nPATH=hunter2", "line 3: PATH changes how programs are loaded"),
        ("A=hunter2\x00", "line 1: the value of A has a control character"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line_and_without_the_value(text: str, said: str) -> None:
    with pytest.raises(BadInput) as caught:
        read_dotenv(text, ".env")
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message
    assert caught.value.__cause__ is None


def test_a_secret_that_was_pulled_stands_as_a_comment_that_is_known_again() -> None:
    line = write_only_line("API_KEY", "project, set 2 days ago")
    assert read_dotenv(f"{line}\nB=1\n", ".env").write_only == {"API_KEY"}
    assert read_dotenv(f"{line}\nAPI_KEY=1\n", ".env").write_only == set()
