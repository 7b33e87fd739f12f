"""What the agent and the relay process say to each other: one line each way over a Unix socket. Few words, so that the relay needs
no library to read them.

`hello` → `ok 1 812` (the number of this language, process id) · `targets` → `ok 8000:24000 8001:24001` · `lead 8000:24000` → `ok` or
`taken 8000 98` (errno) · `connections 24000` → `ok 3` · `end` → `ok`. Anything else → `what`.
"""

from collections.abc import Mapping

LANGUAGE = 1
LONGEST_LINE = 1 << 16


def targets_line(verb: str, targets: Mapping[int, int]) -> bytes:
    """`verb` and the targets, sorted, with the line's end."""
    return (" ".join([verb, *(f"{public}:{private}" for public, private in sorted(targets.items()))]) + "\n").encode()


def read_targets(words: list[str]) -> dict[int, int]:
    """Of the words after the verb. Raises `ValueError` for what is no pair of ports, and for a public port that stands there twice."""
    targets: dict[int, int] = {}
    for word in words:
        public, colon, private = word.partition(":")
        pair = _port(public), _port(private)
        if not colon or pair[0] in targets:
            raise ValueError(word)
        targets[pair[0]] = pair[1]
    return targets


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise ValueError(text)
    return int(text)
