"""Text that systemd reads back as exactly what it was made of (systemd.syntax(7), systemd.exec(5)). Pure.

Whatever cannot be written so that it comes back the same is refused: no value can end its line and begin another setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.wire.values import why_not_given

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "%": "%%"}
_IN_FILE = re.compile(r'([\\"`$])')


def _checked(value: str, what: str) -> str:
    if _CONTROL.search(value):
        raise BadInput(f"{what} has a control character in it: {value[:60]!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{what} is not valid Unicode: {value[:60]!r}") from error
    return value


def word(value: str, what: str) -> str:
    """One item of a list, such as a path or an argument, in quotes. Raises `BadInput`, where `what` names the value."""
    return '"' + "".join(_ESCAPED.get(c, c) for c in _checked(value, what)) + '"'


def line(value: str, what: str) -> str:
    """A value that takes the whole rest of its line. Raises `BadInput`."""
    if "\n" in value or value != value.strip() or value.endswith("\\"):
        raise BadInput(f"{what} would not stay on its line: {value[:60]!r}")
    return _checked(value, what).replace("%", "%%")


def command(run: Sequence[str], what: str) -> str:
    """What stands after `ExecStart=`; `run[0]` is an absolute path. Nothing in it is expanded (`:`). Raises `BadInput`."""
    if not run or not run[0].startswith("/"):
        raise BadInput(f"{what} must begin with the absolute path of a program: {run[:1]!r}")
    program, *arguments = (word(item, what) for item in run)
    return " ".join([":" + program, *arguments])


def environment_file(variables: Mapping[str, str]) -> str:
    """The text of an `EnvironmentFile=`. Raises `BadInput`, which does not tell the value, for a name or value that no program could be
    given that way."""
    lines = []
    for name, value in sorted(variables.items()):
        if not _VARIABLE.match(name):
            raise BadInput(f"{name[:60]!r} cannot be the name of a variable")
        if wrong := why_not_given(value):
            raise BadInput(f"the value of {name} {wrong}")
        lines.append(f'{name}="{_IN_FILE.sub(_backslashed, value)}"\n')
    return "".join(lines)


def _backslashed(match: re.Match[str]) -> str:
    return "\\" + match[1]
