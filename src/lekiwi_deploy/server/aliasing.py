"""Labels of deployments: set, moved, removed. An environment's name is none: to move that is to promote."""

from __future__ import annotations

from lekiwi_deploy.errors import BadInput, Conflict, NotFound
from lekiwi_deploy.fleet.selectors import checked_alias
from lekiwi_deploy.fleet.undoing import AliasAgain
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.differing import side_of
from lekiwi_deploy.server.store import aliases, audit, projects
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.wire.api import Identity
from lekiwi_deploy.wire.changes import Alias, SetAlias
from lekiwi_deploy.wire.ids import ProjectName

MAX_ALIASES = 500


async def set_alias(
    tx: Transaction, context: Context, identity: Identity, project: ProjectName, name: str, asked: SetAlias
) -> Alias:
    """Makes `name` a label of what `asked.deployment` means (an environment: of what is live there). Raises `BadInput` for a name that reads
    as something else, `Conflict` for an environment's, and as selectors do."""
    known = {one.name: one for one in await projects.environments(tx, project)}
    if name in known:
        raise Conflict(
            f"{name} is an environment: promoting moves it, under its policy",
            next=(f"lekiwi promote {asked.deployment} {name}",),
        )
    checked_alias(name)
    if len(asked.reason) > 1000 or "\0" in asked.reason:
        raise BadInput("the reason may have at most 1000 characters and no NUL")
    place = next(iter(known), None)  # ids, versions, commits and labels mean the same everywhere in the project
    if asked.environment is not None:
        place = (await projects.environment(tx, project, asked.environment)).name
    elif len(known) > 1 and asked.deployment not in known:
        place = next((one.name for one in known.values() if one.robots > 0), place)
    side = await side_of(tx, context, project, known, asked.deployment, place, asked.utc_offset_min)
    before = await aliases.read(tx, project, name)
    if before is None and len(await aliases.listed(tx, project)) >= MAX_ALIASES:
        raise Conflict(f"project {project!r} has {MAX_ALIASES} aliases: remove some first", next=("lekiwi alias list",))
    if before is None or before.deployment != side.row.id:
        await aliases.put(tx, project, name, side.row.id, identity.name, context.now())
        was = before.deployment if before is not None else None
        await audit.record(
            tx,
            identity.name,
            "alias.set",
            f"project/{project}",
            {"name": name, "to": side.row.id, "version": side.row.version, "from": was},
            reason=asked.reason,
            undo=AliasAgain(name=name, before=was, after=side.row.id),
        )
    row = await aliases.read(tx, project, name)
    assert row is not None
    return row.shown


async def remove_alias(tx: Transaction, identity: Identity, project: ProjectName, name: str, reason: str = "") -> Alias:
    """Removes the label; what it named. Raises `NotFound`."""
    row = await aliases.read(tx, project, name)
    if row is None:
        others = ", ".join(one.name for one in await aliases.listed(tx, project)) or "none"
        raise NotFound(
            f"project {project!r} has no alias {name[:60]!r} (it has: {others})", next=("lekiwi alias list",)
        )
    await aliases.remove(tx, project, name)
    await audit.record(
        tx,
        identity.name,
        "alias.remove",
        f"project/{project}",
        {"name": name, "from": row.deployment},
        reason=reason,
        undo=AliasAgain(name=name, before=row.deployment, after=None),
    )
    return row.shown
