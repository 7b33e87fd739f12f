"""Changes in sentences."""

from __future__ import annotations

import pytest

from lekiwi_deploy.fleet.sentences import sentence

WHERE = "project/kiwi/production"


@pytest.mark.parametrize(
    ("action", "target", "detail", "said"),
    [
        ("environment.deploy", WHERE, {"to": "dep_b", "version": "v2", "from": "dep_a"}, "deployed dep_b v2 to production (before: dep_a)"),
        ("environment.deploy", WHERE, {"to": "dep_b", "from": None}, "deployed dep_b to production (the first there)"),
        ("environment.rollback", WHERE, {"to": "dep_a", "from": "dep_b", "force": True}, "rolled production back from dep_b to dep_a, by force"),
        ("environment.freeze", WHERE, {}, "froze production"),
        ("environment.set", WHERE, {"changed": {"auto_deploy": ["true", "false"], "rollout": ["", "x" * 61]}},
         "set auto_deploy to false, rollout of production"),
        ("environment.set", WHERE, {"commit": "8b71ff7aaaa"}, "set the policy of production, as lekiwi.yaml at 8b71ff7 says"),
        ("environment.recover", WHERE, {"failed": "dep_b", "live": "dep_a", "why": "it failed on 3 of 4 robots"},
         "took production back to dep_a: it failed on 3 of 4 robots"),
        ("robot.label", f"{WHERE}/kiwi-1", {"labels": {"hw": "v2", "old": None}}, "robot kiwi-1: labelled hw=v2 and removed the label old"),
        ("robot.move", f"{WHERE}/kiwi-1", {"from": "staging", "to": "production"}, "moved robot kiwi-1 from staging to production"),
        ("deployment.create", f"{WHERE}/dep_a", {"branch": "main", "commit": "8b71ff7aaaa"}, "created dep_a from main@8b71ff7 for production"),
        ("variables.change", "project/kiwi", {"scope": "environment", "of": "production", "set": ["API_KEY"]},
         "variables of production: set API_KEY"),
        ("token.create", "token/tok_1", {"name": "anna"}, "made the token anna"),
        ("thing.done_so", "project/kiwi/x", {}, "thing done so: kiwi/x"),
    ],
)  # fmt: skip
def test_a_change_is_said_in_a_sentence(action: str, target: str, detail: dict[str, object], said: str) -> None:
    assert sentence(action, target, detail) == said
