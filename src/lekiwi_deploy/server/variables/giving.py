"""What robots get: the variables of their deployment, as they were when it first went live in their environment, sealed to each one's key.

What holds at a revision never changes, so it is read once. What was sealed is kept, too: a robot that comes back is told the same again, and
going back costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.fleet.variables import Version, Where, resolve
from lekiwi_deploy.server.engines.objects import ObjectStore
from lekiwi_deploy.server.store import variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.store.sessions import DesiredRow
from lekiwi_deploy.server.variables.declared import look_up
from lekiwi_deploy.server.variables.key import VariablesKey
from lekiwi_deploy.wire.ids import ProjectName, RobotId
from lekiwi_deploy.wire.sealing import seal
from lekiwi_deploy.wire.variables import SealedVariables

_log = logging.getLogger("lekiwi.variables")

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class _Newest(Generic[K, V]):
    """At most `size` values, those that were used last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._values:
            self._values.move_to_end(key)
        return self._values.get(key)

    def put(self, key: K, value: V) -> V:
        self._values[key] = value
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        return value


class Vault:
    """The key, and what was made with it in this process."""

    def __init__(self, key: VariablesKey, objects: ObjectStore) -> None:
        self.key = key
        self._objects = objects
        self._versions: _Newest[tuple[str, int], list[Version]] = _Newest(32)
        self._sealed: _Newest[tuple[Hashable, ...], tuple[SealedVariables | None]] = _Newest(20_000)

    async def at_revision(self, tx: Transaction, project: ProjectName, revision: int) -> list[Version]:
        """The newest version of each name in each scope at a revision that is committed."""
        known = self._versions.get((project, revision))
        if known is not None:
            return known
        return self._versions.put((project, revision), await variables.at_revision(tx, project, revision))

    async def for_robots(self, tx: Transaction, rows: Sequence[DesiredRow]) -> dict[RobotId, SealedVariables]:
        """What goes with the desired state of each robot; those that are left out get none.

        Where a value cannot be opened here (its key is lost), the robot gets nothing that it could open: what it has of that revision already
        it keeps, and without it, it says so rather than start a service without its secret.
        """
        given: dict[RobotId, SealedVariables] = {}
        for row in rows:
            if row.id is None or row.variables == 0 or row.public_key is None:
                continue
            what = (row.robot, row.public_key, row.id, row.variables_environment, row.variables)
            known = self._sealed.get(what)
            if known is None:
                known = self._sealed.put(what, (await self._seal(tx, row, row.public_key),))
                await asyncio.sleep(0)  # a large fleet takes seconds in all, and others wait for this loop, too
            if known[0] is not None:
                given[row.robot] = known[0]
        return given

    async def _seal(self, tx: Transaction, row: DesiredRow, public_key: bytes) -> SealedVariables | None:
        where = Where(row.variables_environment, row.preview, row.branch, row.labels, row.robot)
        found = resolve(await self.at_revision(tx, row.project, row.variables), where)
        reads = row.reads
        if found and reads is None and row.package_hash is not None:
            reads = await look_up(tx, self._objects, row.package_hash)
        # What could not be looked up is sent whole: the robot gives each service only what it declares.
        wanted = {name: version for name, version in found.items() if reads is None or name in reads}
        if not wanted:
            return None
        try:
            sealed = seal({name: self.key.open(row.project, version) for name, version in wanted.items()}, public_key)
        except Failed as error:
            _log.error("%s gets no variables: %s", row.robot, error.message)
            sealed = ""
        return SealedVariables(
            environment=row.variables_environment,
            revision=row.variables,
            sealed=sealed,
            secrets=tuple(name for name, version in wanted.items() if version.secret),
        )
