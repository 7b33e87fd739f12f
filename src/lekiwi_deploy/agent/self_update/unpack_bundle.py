"""`python -m … BUNDLE ROOT`: unpack a release beside the one that runs, at low priority, and write its name. A process of its own, so that
what it takes in memory is given back."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lekiwi_deploy.agent.install.unpack import Refused, unpack


def main(bundle: str, root: str) -> int:
    """Exit code; the last line on stderr says what is wrong."""
    os.nice(10)
    try:
        home = unpack(Path(bundle), Path(root))
    except (Refused, OSError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    print(home.name)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
