"""What must not be committed. `make lint` runs it; exits 1 and names each place that breaks a rule.

* requirements name no address, npm locks no `resolved`: whoever installs decides where from;
* no tracked file names a package registry's host, or a folder of the machine that it was written on;
* a source file has at most 500 lines, unless its docstring says "Long because";
* test modules have names of their own, since pytest imports them by name.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
MOST_LINES = 500
HOSTS = tuple(
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))
)


def broken_rules(top: Path, tracked: list[Path]) -> Iterator[str]:
    """One line per breach. `tracked`: paths relative to `top`."""
    machine = _folders_of_this_machine(top)
    for path in tracked:
        try:
            text = (top / path).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # binary, or deleted and not committed yet
        yield from (f"{path}: names the registry {host}" for host in HOSTS if host in text)
        yield from (f"{path}: names this machine's {folder}" for folder in machine if folder in text)
        if path.parts[0] == "requirements" and "://" in text:
            yield f"{path}: holds an address"
        if path.name == "package-lock.json" and '"resolved"' in text:
            yield f"{path}: holds resolved addresses; set omit-lockfile-registry-resolved"
        if path.suffix == ".py" and path.parts[0] in ("src", "benchmarks") and text.count("\n") > MOST_LINES:
            reason = ast.get_docstring(ast.parse(text)) or ""
            if "Long because" not in reason:
                yield f"{path}: {text.count(chr(10))} lines; split it, or say in its docstring why it is long"
    names = Counter(path.name for path in tracked if path.parts[0] == "tests" and path.name.startswith("test_"))
    yield from (f"tests: {count} modules are named {name}" for name, count in names.items() if count > 1)


def _folders_of_this_machine(top: Path) -> tuple[str, ...]:
    """This checkout's folder and the user's home, as text that no tracked file should hold."""
    return tuple(f"{folder}/" for folder in {top, Path.home()} if folder != Path("/"))


def main() -> int:
    """Check the tracked files of this repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TOP, check=True, capture_output=True, text=True).stdout
    breaches = list(broken_rules(TOP, [Path(name) for name in listed.split("\0") if name]))
    for breach in breaches:
        print(breach, file=sys.stderr)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
