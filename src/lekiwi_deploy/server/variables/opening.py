"""The key at start: made the first time, and never another one than that which sealed what is stored, unless a person says that it is to be
replaced, or is lost.

While a new key takes over it is in a file beside the old one, and there before the database says so: at each moment one of the two files has
the key that the database needs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from lekiwi_deploy.errors import Conflict, Failed
from lekiwi_deploy.server.config import Config
from lekiwi_deploy.server.engines.postgres import sync_folder
from lekiwi_deploy.server.store import audit, installation, replicas, variables
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.variables.key import VariablesKey, make_key, read_key

KEY_FILE = "variables-key"
_NEXT = ("lekiwi server --variables-key FILE", "lekiwi server --new-variables-key")


async def open_key(
    tx: Transaction, config: Config, *, replica: str, random: Callable[[int], bytes], now: datetime
) -> VariablesKey:
    """The key that holds once this transaction is committed, made if this installation has none yet; call `settle_file` after that.

    Raises `Failed` when the file is missing or holds another key than the one that stored variables were sealed with, `Conflict` when the key is
    to be replaced while other servers use it.
    """
    path = key_path(config)
    known = await installation.lock_variables_key(tx)
    needed = known is not None and await variables.any_sealed(tx)
    key = read_key(path)
    if (key is None or key.check != known) and (begun := read_key(_next_to(path))) is not None and begun.check == known:
        key = begun  # the one before was replaced, and we ended before the file was
    if config.new_variables_key:
        if needed and key is not None and key.check == known:
            raise Conflict(f"the key in {path} is not lost: it opens the variables. Start without --new-variables-key")
        await _alone(tx, replica, now)
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
    return await _replaced(tx, path, key, replica, random, now) if config.rotate_variables_key else key


def settle_file(config: Config, key: VariablesKey) -> None:
    """Makes the key of a transaction that is committed the one in the file."""
    path = key_path(config)
    if read_key(path) != key:
        _next_to(path).replace(path)
        sync_folder(path.parent)
    _next_to(path).unlink(missing_ok=True)


def key_path(config: Config) -> Path:
    """The file that holds the key."""
    return config.variables_key or config.data / KEY_FILE


def _next_to(path: Path) -> Path:
    return path.with_name(path.name + ".next")


async def _replaced(
    tx: Transaction, path: Path, old: VariablesKey, replica: str, random: Callable[[int], bytes], now: datetime
) -> VariablesKey:
    """A new key, with everything that the old one sealed sealed with it."""
    await _alone(tx, replica, now)
    new = make_key(_next_to(path), random)
    count = 0
    for row in await variables.all_sealed(tx):
        value = old.open(row.project, row)
        sealed = new.seal(row.project, row.scope, row.of, row.name, value, random)
        await variables.set_sealed(tx, row.revision, sealed, new.fingerprint(row.project, row.name, value))
        count += 1
    await installation.set_variables_key(tx, new.check)
    await audit.record(
        tx, "server", "variables.rotate_key", "server", {"values": count, "from": old.check, "to": new.check}
    )
    return new


async def _alone(tx: Transaction, replica: str, now: datetime) -> None:
    others = await replicas.others_alive(tx, replica, now)
    if others:
        raise Conflict(
            f"{others} other server{'s' if others > 1 else ''} of this database may use the key of variables: stop all but this one first "
            "(one that was killed counts for 30 seconds)"
        )


def _another(path: Path, config: Config, key: VariablesKey, known: str | None) -> str:
    holder = f"--variables-key {path}" if config.variables_key else str(path)
    return (
        f"{holder} holds another key ({key.check}) than the one that the variables in the database are sealed with ({known}): put that one "
        "there, from a backup or from another server of this database"
    )
