"""A defect of ours: the whole trace goes to a file, one line to the person."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from lekiwi_deploy import __version__
from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.errors import LekiwiError


def record(error: Exception, *, verbose: bool, output: Output) -> LekiwiError:
    """What to tell about `error`; its trace is kept below XDG_STATE_HOME (`~/.local/state`), and shown with -v."""
    trace = "".join(traceback.format_exception(error))
    if verbose:
        for line in trace.splitlines():
            output.detail(line)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    path = Path(base) / "lekiwi" / "last-crash.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"lekiwi {__version__}, {datetime.now(UTC).isoformat()}\n{trace}")
        where = f"the trace is in {path}"
    except OSError:
        where = "run it again with -v to see the trace"
    return LekiwiError(f"this is a defect of lekiwi itself: {type(error).__name__}: {error}; {where}", code="internal")
