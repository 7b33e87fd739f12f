"""`dies_at.py N PROGRAM …`: run a Python program that dies at its N-th change of the file system."""

import os
import runpy
import signal
import sys
from collections.abc import Callable

left = iter(range(int(sys.argv[1])))


def deadly(call: Callable[..., object]) -> Callable[..., object]:
    def die_or(*arguments: object, **options: object) -> object:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)

    return die_or


for name in ("rename", "replace", "mkdir", "unlink", "rmdir", "symlink", "chmod", "chown", "fsync"):
    setattr(os, name, deadly(getattr(os, name)))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
