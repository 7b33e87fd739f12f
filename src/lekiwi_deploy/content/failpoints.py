"""Places where a test can make a program die, fail or dawdle, to see that it converges from there. Unarmed, one costs a comparison.

`LEKIWI_FAILPOINT=name` kills the process with SIGKILL the first time it comes by; `name:ENOSPC` (or EIO, EROFS, …) makes that step fail
as a disk would, once; `name:delay` holds it up for a fifth of a second, each time.
"""

from __future__ import annotations

import errno
import os
import signal
import time

STORE = (
    "store.clear_incoming",
    "store.write",
    "store.before_flush",
    "store.before_name",
    "store.between_names",
    "store.after_names",
    "store.drop_staged",
    "store.set_aside",
    "store.take_back",
    "store.discard",
    "store.remove",
)
SLOT = (
    "slot.before_fill",
    "slot.filled",
    "slot.before_flush",
    "slot.before_publish",
    "slot.after_publish",
    "slot.exchanged",
    "slot.before_remove",
    "slot.after_remove",
    "slot.leftovers",
)
FILE = ("file.before_write", "file.before_rename", "file.after_rename")
AGENT = (
    "fetch.before",
    "fetch.kept",
    "fetch.after",
    "fetch.forget_kept",
    "stage.before_lay_out",
    "stage.after_lay_out",
    "variables.before_write",
    "variables.before_remove",
    "stage.before_journal",
    "stage.after_journal",
    "switch.before_journal",
    "switch.after_journal",
    "switch.before_link",
    "switch.new_link",
    "switch.linked",
    "switch.after_link",
    "switch.before_start",
    "switch.after_start",
    "switch.before_lead",
    "switch.after_lead",
    "switch.before_stop",
    "switch.after_stop",
    "hook.before",
    "hook.after",
    "service.after_spawn",
    "service.record",
    "service.forget",
    "trial.before_healthy",
    "trial.after_healthy",
    "trial.after_good",
    "journal.full",
    "journal.set_aside",
    "journal.reserve",
    "spool.before_write",
    "spool.before_flush",
    "spool.new_segment",
    "spool.thin",
    "spool.forget",
    "spool.cut",
    "spool.before_state",
    "start.clear",
)
NAMES = frozenset((*STORE, *SLOT, *FILE, *AGENT))
"""Every place. A test fails when something changes the disk where there is none (tests/unit/agent/test_failpoints_cover.py)."""
KILL = "kill"
DELAY = "delay"
_DELAY_S = 0.2


def arm(text: str | None) -> None:
    """As the variable says; None: no place. Raises `ValueError`."""
    global _armed, _action
    name, _, action = (text or "").partition(":")
    if text is not None and name not in NAMES:
        raise ValueError(f"LEKIWI_FAILPOINT={text}: there is no such failpoint")
    if action not in ("", KILL, DELAY) and not hasattr(errno, action):
        raise ValueError(f"LEKIWI_FAILPOINT={text}: the action is none of {KILL}, {DELAY} or an errno's name")
    _armed, _action = name or None, action or KILL


def fp(name: str) -> None:
    """Do here what a test wants. Raises `OSError` when it wants that."""
    if name == _armed:
        _act(name)


def _act(name: str) -> None:
    if _action == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if _action == DELAY:
        time.sleep(_DELAY_S)
        return
    code = int(getattr(errno, _action))
    arm(None)
    raise OSError(code, os.strerror(code), f"failpoint {name}")


_armed: str | None = None
_action = KILL
try:
    arm(os.environ.get("LEKIWI_FAILPOINT"))
except ValueError as error:
    raise SystemExit(str(error)) from None
