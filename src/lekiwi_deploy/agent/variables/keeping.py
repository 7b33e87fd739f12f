"""The variables that came with each deployment: on the disk as they were sealed, opened when a service is to be started.

What came first for a revision stays: the values of a revision do not change. Of another environment or revision the newer is kept.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lekiwi_deploy.agent.config import read_key
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.variables import stored
from lekiwi_deploy.agent.variables.masking import Mask
from lekiwi_deploy.agent.variables.stored import StoredVariables
from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.wire.ids import DeploymentId
from lekiwi_deploy.wire.values import why_not_given
from lekiwi_deploy.wire.variables import SealedVariables


@dataclass(frozen=True, slots=True)
class Given:
    """Of one deployment. `values`: by name; `trouble`: why they cannot be opened, in words after "the variables"; then there are none."""

    kept: StoredVariables | None = None
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    trouble: str | None = None

    @property
    def marks(self) -> Mapping[str, str]:
        """name -> what stands for its value in fingerprints."""
        return self.kept.marks if self.kept is not None else {}


_NONE = Given()


class Variables:
    """Of all deployments here. `mask`: hides the values of those that were opened."""

    def __init__(self, paths: Paths, mask: Mask) -> None:
        self._paths = paths
        self._mask = mask
        self._known: dict[DeploymentId, Given] = {}
        self._refused: dict[DeploymentId, tuple[SealedVariables, str]] = {}

    def of(self, deployment: DeploymentId) -> Given:
        """What its services are to be started with."""
        known = self._known.get(deployment)
        if known is None:
            try:
                kept = stored.read(self._paths.deployments / deployment)
                known = self._opened(kept) if kept is not None else _NONE
            except LekiwiError as error:
                known = Given(trouble=error.message)
            self._remember(deployment, known)
        return known

    def trouble(self, deployment: DeploymentId) -> str | None:
        """Why it cannot be started, or why newer variables for it were not taken."""
        refused = self._refused.get(deployment)
        return refused[1] if refused is not None else self.of(deployment).trouble

    def unreadable(self) -> frozenset[DeploymentId]:
        """Deployments whose variables were found to be unreadable."""
        return frozenset(deployment for deployment, known in self._known.items() if known.trouble is not None)

    def keep(self, deployment: DeploymentId, given: SealedVariables | None) -> bool:
        """The server gives these to a deployment whose slot is here, None: none any more; whether it is given other values than before.
        Durable on return. What cannot be opened does not take the place of what can. Raises `OSError`."""
        slot = self._paths.deployments / deployment
        before = self.of(deployment)
        if given is None:
            self._refused.pop(deployment, None)
            if before.kept is None and before.trouble is None:
                return False
            stored.remove(slot)
            self._remember(deployment, _NONE)
            return before is not _NONE
        if self._has(before, given):
            self._refused.pop(deployment, None)
            return False
        refused = self._refused.get(deployment)
        if refused is not None and refused[0] == given:
            return False
        after = self._opened(StoredVariables(given=given))
        assert after.kept is not None
        if after.trouble is not None and before.kept is not None:
            self._refused[deployment] = (given, after.trouble)
            return False
        stored.write(slot, after.kept)
        self._refused.pop(deployment, None)
        self._remember(deployment, after)
        return dict(before.values) != dict(after.values)

    def has(self, deployment: DeploymentId, given: SealedVariables) -> bool:
        """Whether these are the ones that it is started with."""
        return self._has(self.of(deployment), given)

    def restore(self, deployment: DeploymentId) -> None:
        """Its slot was made anew, perhaps of what there was before something newer was kept. Durable on return. Raises `OSError`."""
        known = self._known.get(deployment)
        if known is None:
            return
        slot = self._paths.deployments / deployment
        try:
            there = stored.read(slot)
        except LekiwiError:
            there = None
        if known.kept is not None and there != known.kept:
            stored.write(slot, known.kept)
        elif known.kept is None and known.trouble is None and there is not None:
            stored.remove(slot)

    def forget(self, deployment: DeploymentId) -> None:
        """Its slot is gone."""
        self._refused.pop(deployment, None)
        if self._known.pop(deployment, None) is not None:
            self._hide()

    def _has(self, before: Given, given: SealedVariables) -> bool:
        same = before.kept is not None and before.kept.revision == (given.environment, given.revision)
        return same and before.trouble is None

    def _opened(self, kept: StoredVariables) -> Given:
        from lekiwi_deploy.wire.sealing import unseal  # only a robot that has some pays for it

        try:
            seed = read_key(self._paths)
            values = unseal(kept.given.sealed, seed)
        except LekiwiError as error:
            return Given(kept, trouble=error.message)
        for name, value in sorted(values.items()):
            wrong = why_not_given(value)
            if wrong is not None:
                return Given(kept, trouble=f"the value of {name} {wrong}")
        key = hmac.digest(seed, b"lekiwi: marks of variables", hashlib.sha256)
        marks = {name: _mark(key, name, value) for name, value in values.items()}
        return Given(StoredVariables(given=kept.given, marks=marks), MappingProxyType(values))

    def _remember(self, deployment: DeploymentId, known: Given) -> None:
        self._known[deployment] = known
        self._hide()

    def _hide(self) -> None:
        self._mask.use(
            known.values[name]
            for known in self._known.values()
            if known.kept is not None
            for name in known.kept.given.secrets
            if name in known.values
        )


def _mark(key: bytes, name: str, value: str) -> str:
    return hmac.digest(key, f"{name}={value}".encode(), hashlib.sha256)[:16].hex()
