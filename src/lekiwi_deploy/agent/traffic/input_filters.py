"""Whether this machine's own firewall goes by ports: it looks at a connection after our table has translated its port, so that a rule
about port 8000 would not apply to what was meant for port 8000. PURE."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lekiwi_deploy.agent.traffic.ruleset import TABLE

_REFUSALS = ("drop", "reject")
_SSH = 22  # rules about it alone are many a machine's (against guessed passwords), and no service of ours is there

_Chain = tuple[str, str, str]  # family, table, name


def port_filter(ruleset: dict[str, Any]) -> str | None:
    """What in `nft -j list ruleset` decides over incoming connections by their port, in words. None: nothing does.

    Careful rather than exact: a rule that cannot be read counts as one about ports.
    """
    bases: dict[_Chain, str] = {}
    rules: dict[_Chain, list[list[Any]]] = {}
    for each in ruleset.get("nftables", ()):
        if chain := each.get("chain"):
            if chain.get("hook") == "input" and chain["family"] in ("ip", "ip6", "inet"):
                bases[chain["family"], chain["table"], chain["name"]] = chain.get("policy", "accept")
        elif rule := each.get("rule"):
            rules.setdefault((rule["family"], rule["table"], rule["chain"]), []).append(rule.get("expr", []))
    for base, policy in bases.items():
        family, table, name = base
        if f"{family} {table}" == TABLE:
            continue
        wrong = _wrong(list(_reachable(base, rules)), policy)
        if wrong is not None:
            return f"the firewall of this machine {wrong} (table {family} {table}, chain {name})"
    return None


def _wrong(reached: list[list[Any]], policy: str) -> str | None:
    refusing = [rule for rule in reached if any(word in _keys(rule) for word in _REFUSALS)]
    if policy == "drop" or any(len(rule) == 1 or _is_counted_only(rule) for rule in refusing):
        return "refuses every port that it does not know"
    if refusing and any(_is_about_ports(rule) for rule in reached):
        return "has rules about ports"
    return None


def _reachable(base: _Chain, rules: dict[_Chain, list[list[Any]]]) -> Iterator[list[Any]]:
    family, table, _ = base
    seen, todo = {base}, [base]
    while todo:
        for rule in rules.get(todo.pop(), ()):
            yield rule
            for jump in (found for word in ("jump", "goto") for found in _values(rule, word)):
                target = jump.get("target") if isinstance(jump, dict) else None
                to = (family, table, target if isinstance(target, str) else "")
                if to not in seen:
                    seen.add(to)
                    todo.append(to)


def _is_counted_only(rule: list[Any]) -> bool:
    """Nothing but a verdict, and what counts or tells."""
    return all(isinstance(part, dict) and part.keys() <= {"counter", "log", "limit", *_REFUSALS} for part in rule)


def _is_about_ports(rule: list[Any]) -> bool:
    for part in rule:
        if not isinstance(part, dict) or "xt" in part:  # of iptables, in words that nft does not know
            return True
        compared = part.get("match")
        if "dport" in _values(part, "field") and not (isinstance(compared, dict) and compared.get("right") == _SSH):
            return True
    return False


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | {key for inner in value.values() for key in _keys(inner)}
    return {key for inner in value for key in _keys(inner)} if isinstance(value, list) else set()


def _values(value: Any, wanted: str) -> list[Any]:
    """What stands under the key `wanted`, however deep."""
    if isinstance(value, dict):
        here = [value[wanted]] if wanted in value else []
        return here + [found for inner in value.values() for found in _values(inner, wanted)]
    return [found for inner in value for found in _values(inner, wanted)] if isinstance(value, list) else []
