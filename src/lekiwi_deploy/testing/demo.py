"""`make demo`: the main job on this machine, for real: a server, 15 robots, a push, another one, and back.

What is told goes to stderr; stdout is for the summary, or with --json for one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lekiwi_deploy.testing.fleet import LocalFleet
from lekiwi_deploy.testing.person import show
from lekiwi_deploy.testing.story import Figures, Story
from lekiwi_deploy.testing.waiting import NeverHappened

EXAMPLE = Path("examples/lekiwi-robot")


def main(arguments: Sequence[str] | None = None) -> int:
    """Tell the story; 0 when every step of it held."""
    wishes = _parser().parse_args(arguments)
    if not (wishes.example / "lekiwi.yaml").is_file():
        show(f"no example in {wishes.example}: run this from the repository, or say --example FOLDER")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = wishes.data or Path(tempfile.mkdtemp(prefix="lekiwi-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL may have to run as another user, who must get through
    try:
        code = _tell(wishes, folder)
    except KeyboardInterrupt:
        show("\nstopped")
        code = 130
    except (NeverHappened, AssertionError) as error:
        show(f"\nThe demo failed: {error}\nIts files are in {folder}")
        return 1
    if wishes.data is None and not wishes.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _tell(wishes: argparse.Namespace, folder: Path) -> int:
    with LocalFleet(folder) as fleet:
        story = Story(fleet, wishes.example, robots=wishes.robots)
        figures = story.tell(rollbacks=wishes.rollbacks)
        if wishes.json:
            sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")
        else:
            sys.stdout.write(_summary(figures))
        sys.stdout.flush()
        if not wishes.once:
            show(story.what_next())
            with contextlib.suppress(KeyboardInterrupt):
                threading.Event().wait()
            show(f"\nstopping {len(fleet.robots)} robots and the server …")
    return 0


def _summary(figures: Figures) -> str:
    rows = (
        (
            "first deploy",
            f"{figures.first_deploy_s:.2f} s",
            "git push, Enter → last robot confirmed; build and test included",
        ),
        (
            "second deploy",
            f"{figures.second_deploy_s:.2f} s",
            f"one file changed; {figures.second_deploy_bytes:,} bytes to all robots",
        ),
        ("rollback", f"{figures.rollback_p50_ms:.0f} ms", f"median; the slowest {figures.rollback_max_ms:.0f} ms"),
        ("bare start", f"{figures.bare_start_ms:.0f} ms", "the same processes started by hand, until they answer"),
    )
    lines = (f"  {name:<14} {value:>9}   {what}\n" for name, value, what in rows)
    return f"\n{figures.robots} robots\n{''.join(lines)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument(
        "--once", action="store_true", help="end when the story is told, instead of leaving the fleet running"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--robots", type=int, default=15, metavar="N", help="how many robots (15)")
    parser.add_argument("--rollbacks", type=int, default=20, metavar="N", help="how many rollbacks are timed (20)")
    parser.add_argument(
        "--example", type=Path, default=EXAMPLE, metavar="FOLDER", help="what is deployed (%(default)s)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="where everything lives (a temporary folder)")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder behind")
    return parser


if __name__ == "__main__":
    sys.exit(main())
