"""Hints: kept until they are waited for, and never lost silently."""

from __future__ import annotations

import asyncio

from lekiwi_deploy.server.nudges import Nudges


async def test_hints_that_came_before_the_wait_are_kept_and_merged() -> None:
    nudges = Nudges()
    with nudges.subscribe("rollout") as hint:
        nudges.local("rollout", "rol_1")
        nudges.local("rollout", "rol_1")
        nudges.local("rollout", "rol_2")
        nudges.local("desired", "kiwi-1")
        assert await hint.wait(5) == {"rol_1", "rol_2"}


async def test_a_wait_that_runs_out_means_look_at_everything() -> None:
    nudges = Nudges()
    with nudges.subscribe("rollout") as hint:
        assert await hint.wait(0) == set()


async def test_missed_hints_wake_everybody_to_look_at_everything() -> None:
    nudges = Nudges()
    with nudges.subscribe("rollout") as all_of_it, nudges.subscribe("progress", "dep_1") as one:
        nudges.local("rollout", "rol_1")
        nudges.wake_all()
        assert await all_of_it.wait(5) == set()
        assert await one.wait(5) == set()


async def test_a_subscription_to_one_id_hears_only_of_it() -> None:
    nudges = Nudges()
    with nudges.subscribe("progress", "dep_1") as hint:
        nudges.local("progress", "dep_2")
        waiting = asyncio.create_task(hint.wait(5))
        await asyncio.sleep(0)
        assert not waiting.done()
        nudges.local("progress", "dep_1")
        assert await waiting == {"dep_1"}


async def test_nothing_is_left_of_a_subscription_that_ended() -> None:
    nudges = Nudges()
    with nudges.subscribe("progress", "dep_1") as hint:
        pass
    nudges.local("progress", "dep_1")
    assert await hint.wait(0) == set()
    assert not nudges._by_id


async def test_calls_are_made_at_once_and_with_none_when_hints_were_missed() -> None:
    nudges = Nudges()
    heard: list[str | None] = []
    nudges.call("revoked", heard.append)
    nudges.local("revoked", "tok_1")
    nudges.local("other", "x")
    nudges.wake_all()
    assert heard == ["tok_1", None]


async def test_a_hint_after_missed_ones_does_not_narrow_the_look() -> None:
    nudges = Nudges()
    with nudges.subscribe("rollout") as subscription:
        nudges.wake_all()
        nudges.local("rollout", "rol_1")
        assert await subscription.wait(1) == set()
        nudges.local("rollout", "rol_2")
        assert await subscription.wait(1) == {"rol_2"}
