"""Which values a variable of a service can have."""

from __future__ import annotations

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f]")


def why_not_given(value: str) -> str | None:
    """Why no service could be given this value, in words after "the value"; None: it can. Newlines and tabs can be carried."""
    if _CONTROL.search(value):
        return "has a control character in it (only newlines and tabs can be given to a service)"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not valid Unicode"
    return None
