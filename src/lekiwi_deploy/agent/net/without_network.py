"""The root half cannot do network: what it would need for that is not to be had in its process.

`nacl` is none of it: a robot that was given sealed variables loads it to open them (1.4 MB), any other does not.
"""

from __future__ import annotations

import sys

FORBIDDEN = ("ssl", "websockets", "urllib3", "http.client")


def forbid() -> None:
    """From now on an import of any of these fails in this process (asyncio does without `ssl` where there is none). Call it first.

    Raises `AssertionError` when one of them is loaded already: a defect of ours.
    """
    for name in FORBIDDEN:
        assert sys.modules.get(name) is None, f"{name} is loaded in the root half"
        sys.modules[name] = None  # type: ignore[assignment]
