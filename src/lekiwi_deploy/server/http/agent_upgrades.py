"""Having robots go over to the server's release of the agent."""

from __future__ import annotations

from litestar import get, post

from lekiwi_deploy.errors import BadInput, NotFound
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store import agent_upgrades, audit, projects, robots
from lekiwi_deploy.server.store.agent_upgrades import MemberRow, UpgradeRow
from lekiwi_deploy.server.store.database import Transaction
from lekiwi_deploy.server.targeting import robot_meant
from lekiwi_deploy.wire.agents import AgentRelease, AgentUpgrade, NewAgentUpgrade, UpgradeRobotStatus, UpgradingRobot
from lekiwi_deploy.wire.api import Identity, Role
from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentPhase

MOST = 200


@post("/api/agent-upgrades", role=Role.DEPLOYER, status_code=202)
async def upgrade_agents(context: Context, identity: Identity, data: NewAgentUpgrade) -> AgentUpgrade:
    """Begins: one robot first; the others follow when it keeps the release."""
    release = await context.agent_bundles.release()
    _check_release(release, data.release)
    async with context.database.transaction() as tx:
        names = await _meant(tx, data)
        number = await agent_upgrades.insert(
            tx, release.release, names, again=data.again, by=identity.name, now=context.now()
        )
        detail = {"release": release.release, "upgrade": number, "again": data.again}
        for name in names:
            await audit.record(tx, identity.name, "agent.upgrade", f"robot/{name}", detail)
        return await _view(tx, number)


@get("/api/agent-upgrades/{number:int}")
async def show_upgrade(context: Context, number: int) -> AgentUpgrade:
    """One of them, with its robots."""
    async with context.database.transaction() as tx:
        return await _view(tx, number)


@get("/api/agent-upgrades")
async def list_upgrades(context: Context, limit: int = 20) -> tuple[AgentUpgrade, ...]:
    """The latest ones, newest first."""
    if not 1 <= limit <= MOST:
        raise BadInput(f"limit must be 1 to {MOST}")
    async with context.database.transaction() as tx:
        rows = await agent_upgrades.newest(tx, limit)
        return tuple([_shown(row, await agent_upgrades.members(tx, row.id)) for row in rows])


def _check_release(given: AgentRelease, asked: str | None) -> None:
    if asked is not None and asked not in (given.release, given.version):
        raise NotFound(
            f"this server gives robots the agent {given.release}, not {asked[:80]}",
            next=("upgrade the server to give a newer one: it gives the agent of its own version",),
        )


async def _meant(tx: Transaction, data: NewAgentUpgrade) -> list[RobotId]:
    if data.robots:
        if data.project is not None or data.environment is not None:
            raise BadInput("name robots, or a project, not both")
        return sorted({(await robot_meant(tx, name)).name for name in data.robots})
    if data.project is None:
        raise BadInput("say which robots: names, or a project")
    if data.environment is not None:
        await projects.environment(tx, data.project, data.environment)
    else:
        await projects.read(tx, data.project)
    found = [row.name for row in await robots.listed(tx, data.project, data.environment)]
    if not found:
        raise NotFound(f"{data.environment or data.project} has no robots", next=("lekiwi robots list",))
    return found


async def _view(tx: Transaction, number: int) -> AgentUpgrade:
    row = await agent_upgrades.read(tx, number) if 0 < number < 2**63 else None
    if row is None:
        raise NotFound(f"there is no upgrade {number} of robots' agents", next=("lekiwi robots list",))
    return _shown(row, await agent_upgrades.members(tx, number))


def _shown(row: UpgradeRow, members: list[MemberRow]) -> AgentUpgrade:
    return AgentUpgrade(
        id=row.id,
        release=row.release,
        status=row.status,
        by=row.by_whom,
        created_at=row.created_at,
        again=row.again,
        why=row.why,
        robots=tuple(
            UpgradingRobot(
                robot=member.robot,
                status=member.status,
                online=member.online,
                before=member.before,
                why=member.why or _waiting(row, member),
            )
            for member in members
        ),
    )


def _waiting(row: UpgradeRow, member: MemberRow) -> str:
    agent = member.agent_state
    if member.status is UpgradeRobotStatus.PENDING:
        return "" if member.online else "offline; it is asked when it returns"
    if member.status is not UpgradeRobotStatus.ASKED or agent is None or agent.attempt != row.id:
        return ""
    if agent.phase is AgentPhase.WAITING:
        return agent.why
    return {AgentPhase.FETCHING: "fetching it", AgentPhase.TRIAL: "runs it, watched by the one before"}.get(
        agent.phase, ""
    )


handlers = [upgrade_agents, show_upgrade, list_upgrades]
