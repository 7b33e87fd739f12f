"""Giving memory back after something large passed through."""

from __future__ import annotations

import ctypes


def give_back_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc). Without it an agent that unpacked a new build of a 66 MB
    library keeps 55 MB resident for good, with it 23 MB. Takes some 3 ms."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return
    trim(0)
