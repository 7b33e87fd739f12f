"""Writes what is generated in the documentation: the reference in docs/lekiwi-yaml.md, and the JSON schema that the package ships.
`make docs` runs it; a test fails when they are stale."""

from __future__ import annotations

import sys
from pathlib import Path

from lekiwi_deploy.server.builds.json_schema import schema_text
from lekiwi_deploy.server.builds.reference import with_reference

TOP = Path(__file__).parents[1]
REFERENCE = TOP / "docs/lekiwi-yaml.md"
SCHEMA = TOP / "src/lekiwi_deploy/lekiwi.schema.json"


def main() -> None:
    """Write both, where they differ."""
    for path, text in ((REFERENCE, with_reference(REFERENCE.read_text())), (SCHEMA, schema_text())):
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stderr.write(f"wrote {path.relative_to(TOP)}\n")


if __name__ == "__main__":
    main()
