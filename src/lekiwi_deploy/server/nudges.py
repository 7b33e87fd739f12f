"""Hints that something may have changed: they make a loop look sooner, and are never facts.

Topics and their ids: `progress` (stream), `rollout` (rollout, or project/environment), `desired` (robot), `builds` (deployment),
`refs` (project), `logs` (project), `activity` (project), `revoked` (robot name, or token id `tok_…`).

`Transaction.notify` is the way to send one: it reaches this process right after the commit, and the other replicas through
PostgreSQL. Who waits must read first, then wait, then read again: a hint that came in between is kept.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CHANNEL = "lekiwi"


class Subscription:
    """The hints of one topic since the last `wait`."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self._everything = False
        self._event = asyncio.Event()

    async def wait(self, timeout: float | None = None) -> set[str]:
        """The ids that were hinted at since the last call; waits for one, at most `timeout` seconds.

        An empty set means: look at everything (time is up, or hints may have been missed).
        """
        if not self._event.is_set():
            try:
                async with asyncio.timeout(timeout):
                    await self._event.wait()
            except TimeoutError:
                return set()
        self._event.clear()
        ids, self._ids = self._ids, set()
        everything, self._everything = self._everything, False
        return set() if everything else ids

    def add(self, id: str) -> None:
        """Wakes the waiter with `id`."""
        self._ids.add(id)
        self._event.set()

    def wake(self) -> None:
        """Wakes the waiter with the empty set: it is to look at everything."""
        self._everything = True
        self._event.set()


class Nudges:
    """All subscriptions of this process."""

    def __init__(self) -> None:
        self._all: defaultdict[str, set[Subscription]] = defaultdict(set)
        self._by_id: defaultdict[tuple[str, str], set[Subscription]] = defaultdict(set)
        self._calls: defaultdict[str, list[Callable[[str | None], None]]] = defaultdict(list)

    @contextmanager
    def subscribe(self, topic: str, id: str | None = None) -> Iterator[Subscription]:
        """A subscription to `topic`, or only to `id` of it, for as long as the context lasts.

        Hints count from the moment it is entered, so enter it before the first read.
        """
        subscription = Subscription()
        if id is None:
            self._all[topic].add(subscription)
        else:
            self._by_id[topic, id].add(subscription)
        try:
            yield subscription
        finally:
            if id is None:
                self._all[topic].discard(subscription)
            else:
                self._by_id[topic, id].discard(subscription)
                if not self._by_id[topic, id]:
                    del self._by_id[topic, id]

    def call(self, topic: str, listener: Callable[[str | None], None]) -> None:
        """Has `listener` called, at once and for good, with each id hinted at; with None when hints may have been missed."""
        self._calls[topic].append(listener)

    def local(self, topic: str, id: str) -> None:
        """Hints within this process only. `Transaction.notify` does this by itself after the commit."""
        for subscription in (*self._all.get(topic, ()), *self._by_id.get((topic, id), ())):
            subscription.add(id)
        for listener in self._calls.get(topic, ()):
            listener(id)

    def wake_all(self) -> None:
        """Makes everybody look at everything, because hints may have been missed."""
        for subscriptions in (*self._all.values(), *self._by_id.values()):
            for subscription in subscriptions:
                subscription.wake()
        for listeners in self._calls.values():
            for listener in listeners:
                listener(None)
