"""What came of a test command, out of its last lines. PURE."""

from __future__ import annotations

import re
from collections.abc import Sequence

_COUNTS = re.compile(r"\b(\d+) (passed|failed|errors?|skipped|xfailed|xpassed|deselected|warnings?)\b")
_PYTEST = re.compile(r"^=*\s*((?:\d+ \w+,? ?)+)\s*(?:in [\d.]+ ?s.*)?=*$")
_UNITTEST = re.compile(r"^Ran (\d+) tests? in ")
_UNITTEST_BAD = re.compile(r"^FAILED \((.*)\)")
_JEST = re.compile(r"^Tests:\s+(.*\b\d+ (?:passed|failed).*?)(?:, \d+ total)?$")
_NODE = re.compile(r"^(?:#|ℹ) (pass|fail) (\d+)$")
_CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed")
_MOCHA = re.compile(r"^(\d+) (passing|failing)\b")


def summary(lines: Sequence[str], *, ok: bool) -> str:
    """`12 passed`, `2 failed, 10 passed`; without counts `passed` or an empty text for a failure."""
    node: dict[str, int] = {}
    mocha: dict[str, int] = {}
    for line in reversed(lines[-60:]):
        text = line.strip()
        pytest = _PYTEST.match(text)
        if pytest and _COUNTS.search(pytest[1]) and re.search(r"\b(passed|failed|errors?|skipped)\b", pytest[1]):
            counted = ((number, what) for number, what in _COUNTS.findall(pytest[1]) if not what.startswith("warn"))
            return ", ".join(f"{number} {what}" for number, what in counted)
        for pattern in (_JEST,):
            found = pattern.match(text)
            if found:
                return found[1].replace(" |", ",")
        cargo = _CARGO.match(text)
        if cargo:
            return f"{cargo[1]} passed" if cargo[2] == "0" else f"{cargo[2]} failed, {cargo[1]} passed"
        unittest = _UNITTEST.match(text)
        if unittest:
            return _unittest(int(unittest[1]), lines)
        if found := _NODE.match(text):
            node.setdefault(found[1], int(found[2]))
        if found := _MOCHA.match(text):
            mocha.setdefault(found[2], int(found[1]))
    if "pass" in node:
        return _both(node["pass"], node.get("fail", 0))
    if "passing" in mocha:
        return _both(mocha["passing"], mocha.get("failing", 0))
    return "passed" if ok else ""


def _both(passed: int, failed: int) -> str:
    return f"{failed} failed, {passed} passed" if failed else f"{passed} passed"


def _unittest(ran: int, lines: Sequence[str]) -> str:
    for line in reversed(lines):
        bad = _UNITTEST_BAD.match(line.strip())
        if bad:
            numbers = [int(number) for number in re.findall(r"(?:failures|errors)=(\d+)", bad[1])]
            return _both(ran - sum(numbers), sum(numbers))
    return f"{ran} passed"
