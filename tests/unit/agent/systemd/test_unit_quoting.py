from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.supervisors.systemd.quoting import command, environment_file, line, word
from lekiwi_deploy.errors import BadInput

CONTROLS = [chr(n) for n in (*range(9), 11, 12, 13, *range(14, 32), 127)]
NASTY = st.text(
    st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\\\"'$%;`\n\t #&|()<>@:!+-"), max_size=40
)


def unquoted(text: str) -> list[str]:
    """Words in double quotes, with C escapes, as systemd.syntax(7) describes them."""
    words, at = [], 0
    while at < len(text):
        if text[at] == " ":
            at += 1
            continue
        assert text[at] == '"'
        at += 1
        found = ""
        while text[at] != '"':
            if text[at] == "\\":
                at += 1
                found += {"n": "\n", "t": "\t"}.get(text[at], text[at])
            elif text[at] == "%":
                at += 1
                assert text[at] == "%"
                found += "%"
            else:
                found += text[at]
            at += 1
        at += 1
        words.append(found)
    return words


@given(st.lists(NASTY, max_size=5))
def test_a_command_reads_back_as_what_it_was(arguments: list[str]) -> None:
    text = command(("/bin/echo", *arguments), "it")
    assert "\n" not in text
    assert text.startswith(":")
    assert unquoted(text.removeprefix(":")) == ["/bin/echo", *arguments]


@given(NASTY)
def test_a_word_never_ends_its_line(value: str) -> None:
    assert "\n" not in word(value, "it")
    assert unquoted(word(value, "it")) == [value]


@pytest.mark.parametrize("control", CONTROLS)
def test_control_characters_are_refused(control: str) -> None:
    for write in (
        lambda: word(f"a{control}b", "it"),
        lambda: line(f"a{control}b", "it"),
        lambda: command(("/bin/echo", f"a{control}b"), "it"),
        lambda: environment_file({"A": f"a{control}b"}),
    ):
        with pytest.raises(BadInput):
            write()


def test_half_a_character_is_refused() -> None:
    with pytest.raises(BadInput, match="Unicode"):
        word("\ud800", "it")


@pytest.mark.parametrize("value", ["a\nExecStartPre=/bin/rm", " a", "a ", "a\\"])
def test_what_would_not_stay_on_its_line_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="line"):
        line(value, "it")


def test_a_percent_sign_on_a_line_is_no_specifier() -> None:
    assert line("/opt/%n", "it") == "/opt/%%n"


@pytest.mark.parametrize("run", [(), ("echo",), ("-rm", "x")])
def test_a_command_begins_with_an_absolute_path(run: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="absolute"):
        command(run, "it")


@pytest.mark.parametrize("name", ["", "A=B", "1A", "A B", "A\n", "Ä", "A" * 129])
def test_a_variable_has_a_name_that_a_program_can_read(name: str) -> None:
    with pytest.raises(BadInput, match="variable"):
        environment_file({name: "x"})


@given(st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True), NASTY, max_size=4))
def test_variables_are_quoted_so_that_a_shell_would_read_them_as_they_are(variables: dict[str, str]) -> None:
    text = environment_file(variables)
    for name, value in variables.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("`", "\\`").replace("$", "\\$")
        assert f'{name}="{escaped}"\n' in text
