"""The key at start: made the first time, and never another one than that which sealed what is stored, unless a person says that it is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lekiwi_deploy.errors import Conflict, Failed
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.store import audit, installation, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.variables.key import VariablesKey, make_key, read_key

KEY_FILE = "variables-key"
_NEXT = ("lekiwi server --variables-key FILE", "lekiwi server --new-variables-key")


async def open_key(tx: Transaction, config: Config, random: Callable[[int], bytes]) -> VariablesKey:
    """The key in `config`'s file, made if this installation has none yet.

    Raises `Failed` when the file is missing or holds another key than the one that stored variables were sealed with.
    """
    path = config.variables_key or config.data / KEY_FILE
    known = await installation.lock_variables_key(tx)
    needed = known is not None and await variables.any_sealed(tx)
    key = read_key(path)
    if config.new_variables_key:
        if needed and key is not None and key.check == known:
            raise Conflict(f"the key in {path} is not lost: it opens the variables. Start without --new-variables-key")
        forgotten = await variables.forget_values(tx)
        await audit.record(tx, "server", "variables.forget", "server", {"values": forgotten, "key": known})
        needed = False
    if key is None:
        if needed:
            raise Failed(
                f"{path} is missing: it holds the key of the variables in the database ({known}). Put it back from a backup, or copy it from "
                "another server of this database",
                next=_NEXT,
            )
        key = make_key(path, random)
    if known != key.check:
        if needed:
            raise Failed(_another(path, config, key, known), next=_NEXT)
        await installation.set_variables_key(tx, key.check)
    return key


def _another(path: Path, config: Config, key: VariablesKey, known: str | None) -> str:
    holder = f"--variables-key {path}" if config.variables_key else str(path)
    return (
        f"{holder} holds another key ({key.check}) than the one that the variables in the database are sealed with ({known}): put that one "
        "there, from a backup or from another server of this database"
    )
