"""Compiles sources to byte code, the same bytes on every machine. Run alone, by the Python that is to load them; stdlib only.

stdin: one JSON list [source, name, target] a line. Each target gets the .pyc, or nothing when the source cannot be compiled.

Deterministic because: unchecked hashes instead of times; marshal version 2, which has no references, whose presence would depend on
what else this process holds; a fixed hash seed for the order of constant sets; and a name that is not a path of this machine (the import
system replaces it by the real one when it loads the code).
"""

# ruff: noqa: PTH103, PTH105, PTH120, PTH123 - what starts in a few milliseconds; any Python from 3.8 on runs this
from __future__ import annotations

import sys

sys.path.pop(0)  # our own folder: `-I` would do that too, but also ignore PYTHONHASHSEED

import importlib.util
import json
import marshal
import os
import warnings

MARSHAL_VERSION = 2
UNCHECKED_HASH = 1


def compiled(source: bytes, name: str) -> bytes | None:
    """The content of the .pyc for `source` (bytes), or None when it is no valid source of this version."""
    try:
        code = compile(source, name, "exec", dont_inherit=True, optimize=0)
        body = marshal.dumps(code, MARSHAL_VERSION)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    flags = UNCHECKED_HASH.to_bytes(4, "little")
    return importlib.util.MAGIC_NUMBER + flags + importlib.util.source_hash(source) + body


def main() -> None:
    """One target for each line of stdin."""
    warnings.simplefilter("ignore")
    sys.setrecursionlimit(2_000)
    for line in sys.stdin:
        source, name, target = json.loads(line)
        with open(source, "rb") as file:
            data = compiled(file.read(), name)
        folder = os.path.dirname(target)
        os.makedirs(folder, exist_ok=True)
        temporary = target + ".new"
        with open(temporary, "wb") as file:
            file.write(data or b"")
        os.replace(temporary, target)


if __name__ == "__main__":
    main()
