"""Which firewalls of a machine would see private ports where they have rules for public ones."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.traffic.input_filters import port_filter


def chain(name: str, **base: Any) -> dict[str, Any]:
    return {"chain": {"family": "inet", "table": "filter", "name": name, **base}}


def rule(where: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"rule": {"family": "inet", "table": "filter", "chain": where, "expr": list(parts)}}


def match(protocol: str, field: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": right}}


INPUT = chain("input", type="filter", hook="input", prio=0, policy="accept")
STRICT = chain("input", type="filter", hook="input", prio=0, policy="drop")
DROP: dict[str, Any] = {"drop": None}
REJECT: dict[str, Any] = {"reject": {"type": "tcp reset"}}
ACCEPT: dict[str, Any] = {"accept": None}
INVALID = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "invalid"}}
STRANGER = match("ip", "saddr", "@banned")


@pytest.mark.parametrize(
    "rules",
    [
        [],
        [INPUT],
        [INPUT, rule("input", match("tcp", "dport", 8000), ACCEPT)],
        [INPUT, rule("input", INVALID, DROP), rule("input", STRANGER, REJECT)],
        [INPUT, rule("input", match("tcp", "dport", 22), STRANGER, REJECT)],
        [INPUT, chain("unused"), rule("unused", DROP)],
        [chain("forward", type="filter", hook="forward", prio=0, policy="drop")],
    ],
)
def test_rules_that_do_not_go_by_ports_are_no_obstacle(rules: list[dict[str, Any]]) -> None:
    assert port_filter({"nftables": rules}) is None


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        ([STRICT], "refuses every port that it does not know"),
        ([INPUT, rule("input", match("tcp", "dport", 22), ACCEPT), rule("input", DROP)], "does not know"),
        ([INPUT, rule("input", {"counter": {"packets": 0, "bytes": 0}}, REJECT)], "does not know"),
        ([INPUT, rule("input", match("tcp", "dport", 8000), DROP)], "has rules about ports"),
        ([INPUT, rule("input", match("tcp", "dport", {"set": [22, 8000]}), STRANGER, DROP)], "has rules about ports"),
        (
            [INPUT, rule("input", match("tcp", "dport", 80), ACCEPT), rule("input", STRANGER, DROP)],
            "has rules about ports",
        ),
        ([INPUT, rule("input", {"xt": {"type": "match", "name": "multiport"}}, DROP)], "has rules about ports"),
        ([INPUT, rule("input", {"jump": {"target": "more"}}), chain("more"), rule("more", DROP)], "does not know"),
        (
            [
                INPUT,
                rule(
                    "input",
                    {"vmap": {"key": match("ip", "saddr", 1), "data": {"set": [[1, {"goto": {"target": "x"}}]]}}},
                ),
                rule("x", DROP),
            ],
            "does not know",
        ),
    ],
)
def test_a_firewall_that_goes_by_ports_is_named(rules: list[dict[str, Any]], what: str) -> None:
    found = port_filter({"nftables": rules})
    assert found is not None and what in found and "table inet filter, chain input" in found


def test_our_own_table_is_no_obstacle() -> None:
    ours = {"chain": {"family": "inet", "table": "lekiwi", "name": "guard", "hook": "input", "policy": "accept"}}
    refusing = {
        "rule": {"family": "inet", "table": "lekiwi", "chain": "guard", "expr": [match("tcp", "dport", "@led"), REJECT]}
    }
    assert port_filter({"nftables": [ours, refusing]}) is None


def test_chains_that_jump_to_one_another_end() -> None:
    rules = [
        INPUT,
        rule("input", {"jump": {"target": "a"}}),
        rule("a", {"goto": {"target": "a"}}),
        rule("a", INVALID, DROP),
    ]
    assert port_filter({"nftables": rules}) is None


JSON = st.recursive(
    st.none() | st.integers() | st.sampled_from(["dport", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["drop", "match", "jump", "field", "target", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.lists(st.lists(JSON, max_size=3), max_size=3))
def test_any_expression_is_looked_at_without_a_fault(expressions: list[list[Any]]) -> None:
    rules = [{"rule": {"family": "inet", "table": "filter", "chain": "input", "expr": each}} for each in expressions]
    port_filter({"nftables": [INPUT, *rules]})
