"""What differs between two deployments, in lines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from lekiwi_deploy.cli.narrator import Line
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.table import Cell
from lekiwi_deploy.wire.api import Deployment
from lekiwi_deploy.wire.changes import Changed, Differences

_FILES = 12
_COMMITS = 12


def lines_of(found: Differences, now: datetime, *, verbose: bool = False) -> list[Line]:
    """From `a` to `b`: commits, dependencies, settings, variables, files, and what would be started again. `verbose`: all of each."""
    first = named(found.a) if found.a is not None else "nothing"
    lines: list[Line] = [(Cell(first, "bold"), " → ", Cell(named(found.b), "bold"))]
    if found.same_bytes:
        lines.append(("  the same content, byte for byte",))
    lines += _commits(found, now, _COMMITS if not verbose else len(found.commits))
    if found.a is None:
        sums = ((len(found.files) + found.files_more, "file"), (len(found.dependencies), "package"))
        said = ", ".join(plural(count, noun) for count, noun in sums)
        return [*lines, (f"  nothing runs there yet: all of it is new ({said})",)]
    lines += _changes("dependencies", found.dependencies)
    lines += _changes("config", found.config)
    lines += _changes("variables", found.variables)
    files = found.files if verbose else found.files[:_FILES]
    lines += _changes("files", files, more=len(found.files) - len(files) + found.files_more)
    return [*lines, (Cell("  restarts  ", "dim"), ", ".join(found.restarts) or "nothing")]


def named(made: Deployment) -> str:
    """`dep_2hX9kL3m v1.2.0 (8b71ff7)`."""
    return f"{made.id} {made.version}" + (f" ({made.commit[:7]})" if made.commit else "")


def _commits(found: Differences, now: datetime, most: int) -> list[Line]:
    shown = found.commits[:most]
    more = len(found.commits) - len(shown) + found.commits_more
    lines: list[Line] = []
    if shown:
        lines.append((Cell(f"  {plural(len(found.commits) + found.commits_more, 'commit')}", "dim"),))
        lines += [
            (
                "    ",
                Cell(one.commit[:7], "cyan"),
                f"  {one.subject}",
                Cell(f"  {one.author}, {ago(one.at, now)}", "dim"),
            )
            for one in shown
        ]
    if more:
        lines.append((Cell(f"    and {more} more", "dim"),))
    if found.behind:
        lines.append((Cell("  ⚠  ", "yellow"), "commits that run now are not in it: it is older, or another branch"))
    return lines


def _changes(title: str, changes: Iterable[Changed], more: int = 0) -> list[Line]:
    found = list(changes)
    if not found:
        return []
    width = min(40, max(len(one.name) for one in found))
    lines: list[Line] = [(Cell(f"  {title}", "dim"),)]
    for one in found:
        lines.append((f"    {one.name:<{width}}  ", *_change(one)))
    if more:
        lines.append((Cell(f"    and {more} more", "dim"),))
    return lines


def _change(one: Changed) -> Line:
    if one.before is None:
        return (Cell("+ ", "green"), one.after or "")
    if one.after is None:
        return (Cell("- ", "red"), one.before)
    return (one.before, " → ", one.after)
