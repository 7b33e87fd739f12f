"""Places where a test can make the agent die, to see that it converges from there. Without the variable they cost a dictionary look-up.

`LEKIWI_FAILPOINT=name` kills the process with SIGKILL the first time it comes by.
"""

from __future__ import annotations

import os
import signal

NAMES = frozenset(
    {
        "fetch.before",
        "fetch.after",
        "stage.before_lay_out",
        "stage.after_lay_out",
        "stage.before_journal",
        "stage.after_journal",
        "switch.before_journal",
        "switch.after_journal",
        "switch.before_link",
        "switch.after_link",
        "switch.before_restart",
        "switch.after_restart",
        "service.after_spawn",
        "trial.before_healthy",
        "trial.after_healthy",
        "trial.after_good",
    }
)
"""Every place."""

_ARMED = os.environ.get("LEKIWI_FAILPOINT")
if _ARMED is not None and _ARMED not in NAMES:
    raise SystemExit(f"LEKIWI_FAILPOINT={_ARMED}: there is no such failpoint")


def fp(name: str) -> None:
    """Die here if a test wants that."""
    assert name in NAMES, name
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
