"""A method for every route of the API. What each takes and gives stands in `wire.api`; what all raise, in `transport`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from lekiwi_deploy.client.address import path
from lekiwi_deploy.client.transport import Query, Transport
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.wire.agents import AgentBundle, AgentRelease, AgentUpgrade, NewAgentUpgrade
from lekiwi_deploy.wire.api import (
    Audit,
    Deployment,
    DeploymentDetail,
    Deployments,
    Environment,
    FreezeRequest,
    Identity,
    Joined,
    JoinRequest,
    NewDeployment,
    NewProject,
    NewRobot,
    NewToken,
    NewUpload,
    Project,
    Robot,
    RobotJoin,
    RobotPatch,
    Robots,
    Rollout,
    ServerInfo,
    TokenInfo,
    Upload,
)
from lekiwi_deploy.wire.approvals import ApprovalRequest, ApprovalRequests, Say
from lekiwi_deploy.wire.changes import (
    Alias,
    Aliases,
    Cancel,
    Canceled,
    Differences,
    Move,
    Moved,
    Redeploy,
    SetAlias,
    Undo,
    Undone,
)
from lekiwi_deploy.wire.environments import (
    DrainRobot,
    EnvironmentPolicy,
    Group,
    Groups,
    MoveRobot,
    NewEnvironment,
    SetGroup,
    SetPolicy,
)
from lekiwi_deploy.wire.forecast import Forecast, ForecastRequest
from lekiwi_deploy.wire.manifest import FileEntry
from lekiwi_deploy.wire.previews import ExtendPreview, OpenPreview, Previews, PreviewView
from lekiwi_deploy.wire.rollback import Resolution, RollbackAnswer, RollbackRequest
from lekiwi_deploy.wire.rollouts import RolloutAct
from lekiwi_deploy.wire.variables import ChangeVariables, VariableDifferences, Variables, VariablesChanged
from lekiwi_deploy.wire.why import RobotEvents, Why, Whys


class Api:
    """The server's nouns. Names and ids may come straight from a person: each is escaped into its path."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    # -- the server and who asks

    def server(self) -> ServerInfo:
        """Needs no token."""
        return self.transport.call("GET", "/api/server", ServerInfo)

    def whoami(self) -> Identity:
        return self.transport.call("GET", "/api/whoami", Identity)

    def tokens(self) -> tuple[TokenInfo, ...]:
        return self.transport.call("GET", "/api/tokens", tuple[TokenInfo, ...])

    def create_token(self, token: NewToken) -> TokenInfo:
        """The only answer with `secret` in it."""
        return self.transport.call("POST", "/api/tokens", TokenInfo, body=token)

    def revoke_token(self, token: str) -> None:
        self.transport.exchange("DELETE", path("api", "tokens", token))

    def join(self, request: JoinRequest) -> Joined:
        """From a robot; needs no token but the one in the request."""
        return self.transport.call("POST", "/api/join", Joined, body=request)

    def agent_release(self) -> AgentRelease:
        """The agent that this server gives to robots; needs no token."""
        return self.transport.call("GET", "/agent", AgentRelease)

    def agent_archive(self, platform: str) -> bytes:
        """The bundle for robots of that platform (its key); the server may have to fetch it first, which takes some seconds.
        Raises `Failed` when what came is not what the server says."""
        told = self.transport.call("GET", path("agent", platform), AgentBundle)
        data = self.transport.exchange("GET", path("agent", platform, "bundle")).data
        if hashlib.sha256(data).hexdigest() != told.digest:
            raise Failed("the agent did not arrive as the server has it: try again")
        return data

    # -- projects and environments

    def projects(self) -> tuple[Project, ...]:
        return self.transport.call("GET", "/api/projects", tuple[Project, ...])

    def project(self, project: str) -> Project:
        return self.transport.call("GET", path("api", "projects", project), Project)

    def create_project(self, name: str) -> Project:
        return self.transport.call("POST", "/api/projects", Project, body=NewProject(name))

    def freeze(self, project: str, environment: str, reason: str = "") -> Environment:
        where = path("api", "projects", project, "environments", environment, "freeze")
        return self.transport.call("POST", where, Environment, body=FreezeRequest(reason))

    def unfreeze(self, project: str, environment: str, reason: str = "") -> Environment:
        where = path("api", "projects", project, "environments", environment, "unfreeze")
        return self.transport.call("POST", where, Environment, body=FreezeRequest(reason))

    def activity(self, project: str, query: Query | None = None) -> tuple[Audit, ...]:
        """Newest first. `query`: environment, type, since, limit, cursor, utc_offset_min."""
        where = path("api", "projects", project, "activity")
        return self.transport.call("GET", where, tuple[Audit, ...], query=query)

    def undo(self, project: str, body: Undo) -> Undone:
        """Takes a change back, or says which one that would be."""
        return self.transport.call("POST", path("api", "projects", project, "undo"), Undone, body=body)

    def create_environment(self, project: str, environment: NewEnvironment) -> Environment:
        return self.transport.call(
            "POST", path("api", "projects", project, "environments"), Environment, body=environment
        )

    def remove_environment(self, project: str, environment: str, reason: str = "") -> None:
        """Only one without robots."""
        where = path("api", "projects", project, "environments", environment)
        self.transport.exchange("DELETE", where, query={"reason": reason or None})

    def policy(self, project: str, environment: str) -> EnvironmentPolicy:
        """What holds, in lekiwi.yaml's words."""
        where = path("api", "projects", project, "environments", environment, "policy")
        return self.transport.call("GET", where, EnvironmentPolicy)

    def policy_diff(self, project: str, environment: str) -> EnvironmentPolicy:
        """The same, beside lekiwi.yaml as the default branch has it now."""
        where = path("api", "projects", project, "environments", environment, "policy", "diff")
        return self.transport.call("GET", where, EnvironmentPolicy)

    def set_policy(self, project: str, environment: str, change: SetPolicy) -> EnvironmentPolicy:
        where = path("api", "projects", project, "environments", environment, "policy")
        return self.transport.call("PUT", where, EnvironmentPolicy, body=change)

    def groups(self, project: str) -> Groups:
        return self.transport.call("GET", path("api", "projects", project, "groups"), Groups)

    def group(self, project: str, name: str) -> Group:
        return self.transport.call("GET", path("api", "projects", project, "groups", name), Group)

    def set_group(self, project: str, name: str, group: SetGroup) -> Group:
        return self.transport.call("PUT", path("api", "projects", project, "groups", name), Group, body=group)

    def remove_group(self, project: str, name: str, reason: str = "") -> None:
        where = path("api", "projects", project, "groups", name)
        self.transport.exchange("DELETE", where, query={"reason": reason or None})

    # -- deployments and rollouts

    def deployments(self, project: str, query: Query | None = None) -> Deployments:
        """`query`: environment, status, since, limit, cursor."""
        return self.transport.call("GET", path("api", "projects", project, "deployments"), Deployments, query=query)

    def deploy(self, project: str, deployment: NewDeployment) -> Deployment:
        return self.transport.call("POST", path("api", "projects", project, "deployments"), Deployment, body=deployment)

    def deployment(self, deployment: str) -> DeploymentDetail:
        """By id or by a unique prefix of one."""
        return self.transport.call("GET", path("api", "deployments", deployment), DeploymentDetail)

    def cancel(self, deployment: str, body: Cancel | None = None) -> Canceled:
        """Stops its build, its wait for approval or its waves; the answer says which."""
        where = path("api", "deployments", deployment, "cancel")
        return self.transport.call("POST", where, Canceled, body=body or Cancel())

    def redeploy(self, project: str, body: Redeploy) -> Deployment:
        """A new deployment with the same content, or out of the same source."""
        return self.transport.call("POST", path("api", "projects", project, "redeploy"), Deployment, body=body)

    def promote(self, project: str, body: Move) -> Moved:
        return self.transport.call("POST", path("api", "projects", project, "promote"), Moved, body=body)

    def forecast(self, project: str, body: ForecastRequest) -> Forecast:
        """What a deployment would do, which is not done."""
        return self.transport.call("POST", path("api", "projects", project, "forecast"), Forecast, body=body)

    def diff(
        self, project: str, a: str, b: str, *, environment: str | None = None, utc_offset_min: int = 0
    ) -> Differences:
        """From `a` to `b`: environments or selectors."""
        query: Query = {"a": a, "b": b, "environment": environment, "utc_offset_min": utc_offset_min}
        return self.transport.call("GET", path("api", "projects", project, "diff"), Differences, query=query)

    def approvals(self, project: str, *, environment: str | None = None, ended: bool = False) -> ApprovalRequests:
        """What waits for people, oldest first; with `ended` also what did."""
        query: Query = {"environment": environment, "all": "true" if ended else None}
        return self.transport.call("GET", path("api", "projects", project, "approvals"), ApprovalRequests, query=query)

    def say(self, deployment: str, verb: str, body: Say) -> ApprovalRequest:
        """`verb`: approve or reject."""
        return self.transport.call("POST", path("api", "deployments", deployment, verb), ApprovalRequest, body=body)

    def aliases(self, project: str) -> Aliases:
        return self.transport.call("GET", path("api", "projects", project, "aliases"), Aliases)

    def set_alias(self, project: str, name: str, body: SetAlias) -> Alias:
        return self.transport.call("PUT", path("api", "projects", project, "aliases", name), Alias, body=body)

    def remove_alias(self, project: str, name: str, reason: str = "") -> Alias:
        """What it was."""
        where = path("api", "projects", project, "aliases", name)
        return self.transport.call("DELETE", where, Alias, query={"reason": reason or None})

    def manifest(self, deployment: str) -> bytes:
        """The stored bytes, whose SHA-256 is the deployment's digest."""
        return self.transport.exchange("GET", path("api", "deployments", deployment, "manifest")).data

    def rollouts(self, project: str, environment: str | None = None) -> tuple[Rollout, ...]:
        """Those that are under way, newest first."""
        return self.transport.call(
            "GET", path("api", "projects", project, "rollouts"), tuple[Rollout, ...], query={"environment": environment}
        )

    def steer_rollout(self, rollout: str, act: str, body: RolloutAct) -> Rollout:
        """`act`: pause, resume, approve, skip, complete or abort."""
        return self.transport.call("POST", path("api", "rollouts", rollout, act), Rollout, body=body)

    def rollout(self, rollout: str) -> Rollout:
        return self.transport.call("GET", path("api", "rollouts", rollout), Rollout)

    def resolve(self, project: str, selector: str, *, environment: str | None, utc_offset_min: int) -> Resolution:
        """What `selector` means in an environment; naive times in it are `utc_offset_min` minutes ahead of UTC."""
        query: Query = {"selector": selector, "environment": environment, "utc_offset_min": utc_offset_min}
        return self.transport.call("GET", path("api", "projects", project, "resolve"), Resolution, query=query)

    def rollback(self, project: str, request: RollbackRequest) -> RollbackAnswer:
        return self.transport.call("POST", path("api", "projects", project, "rollback"), RollbackAnswer, body=request)

    def create_upload(self, project: str, files: tuple[FileEntry, ...]) -> Upload:
        """Tells which objects of `files` are missing; see `uploads`."""
        return self.transport.call("POST", path("api", "projects", project, "uploads"), Upload, body=NewUpload(files))

    # -- previews

    def previews(self, project: str) -> Previews:
        return self.transport.call("GET", path("api", "projects", project, "previews"), Previews)

    def preview(self, project: str, name: str) -> PreviewView:
        """By its name or its branch."""
        return self.transport.call("GET", path("api", "projects", project, "previews", name), PreviewView)

    def open_preview(self, project: str, preview: OpenPreview) -> PreviewView:
        return self.transport.call("POST", path("api", "projects", project, "previews"), PreviewView, body=preview)

    def extend_preview(self, project: str, name: str, wish: ExtendPreview) -> PreviewView:
        where = path("api", "projects", project, "previews", name, "extend")
        return self.transport.call("POST", where, PreviewView, body=wish)

    def remove_preview(self, project: str, name: str, reason: str = "") -> PreviewView:
        """What it was."""
        where = path("api", "projects", project, "previews", name)
        return self.transport.call("DELETE", where, PreviewView, query={"reason": reason or None})

    # -- robots

    def robots(self, *, project: str | None = None, environment: str | None = None) -> Robots:
        return self.transport.call("GET", "/api/robots", Robots, query={"project": project, "environment": environment})

    def robot(self, robot: str) -> Robot:
        return self.transport.call("GET", path("api", "robots", robot), Robot)

    def label_robot(self, robot: str, labels: Mapping[str, str | None]) -> Robot:
        """Sets labels; None removes one."""
        return self.transport.call("PATCH", path("api", "robots", robot), Robot, body=RobotPatch(labels=labels))

    def move_robot(self, robot: str, move: MoveRobot) -> Robot:
        """Into another environment of its project."""
        return self.transport.call("POST", path("api", "robots", robot, "move"), Robot, body=move)

    def drain_robot(self, robot: str, reason: str = "") -> Robot:
        """Takes it out of deployments."""
        return self.transport.call("POST", path("api", "robots", robot, "drain"), Robot, body=DrainRobot(reason=reason))

    def undrain_robot(self, robot: str, reason: str = "") -> Robot:
        return self.transport.call(
            "POST", path("api", "robots", robot, "undrain"), Robot, body=DrainRobot(reason=reason)
        )

    def remove_robot(self, robot: str) -> None:
        self.transport.exchange("DELETE", path("api", "robots", robot))

    def add_robot(self, project: str, robot: NewRobot) -> RobotJoin:
        return self.transport.call("POST", path("api", "projects", project, "robots"), RobotJoin, body=robot)

    def new_join_token(self, robot: str) -> RobotJoin:
        """Another join line for a robot that was added already."""
        return self.transport.call("POST", path("api", "robots", robot, "join-token"), RobotJoin)

    def upgrade_agents(self, upgrade: NewAgentUpgrade) -> AgentUpgrade:
        """Has robots go over to the server's release of the agent, one first."""
        return self.transport.call("POST", "/api/agent-upgrades", AgentUpgrade, body=upgrade)

    def agent_upgrade(self, number: int) -> AgentUpgrade:
        """How that fares."""
        return self.transport.call("GET", path("api", "agent-upgrades", str(number)), AgentUpgrade)

    def resume_robot(self, robot: str, *, force: bool = False) -> Robot:
        """`force`: over a quarantine, holds and unmet conditions."""
        query: Query | None = {"force": "true"} if force else None
        return self.transport.call("POST", path("api", "robots", robot, "resume"), Robot, query=query)

    def events(self, robot: str, *, limit: int | None = None, before: int | None = None) -> RobotEvents:
        """What happened on the robot, newest first."""
        query: Query = {"limit": limit, "before": before}
        return self.transport.call("GET", path("api", "robots", robot, "events"), RobotEvents, query=query)

    # -- variables

    def variables(self, project: str, query: Query | None = None) -> Variables:
        """`query`: environment, branch, tag, robot, resolved."""
        return self.transport.call("GET", path("api", "projects", project, "variables"), Variables, query=query)

    def change_variables(self, project: str, change: ChangeVariables) -> VariablesChanged:
        where = path("api", "projects", project, "variables")
        return self.transport.call("POST", where, VariablesChanged, body=change)

    def variables_history(self, project: str, *, name: str | None = None, limit: int | None = None) -> Variables:
        """Newest first."""
        where = path("api", "projects", project, "variables", "history")
        return self.transport.call("GET", where, Variables, query={"name": name, "limit": limit})

    def variables_diff(self, project: str, a: str, b: str, *, environment: str | None = None) -> VariableDifferences:
        where = path("api", "projects", project, "variables", "diff")
        query: Query = {"a": a, "b": b, "environment": environment}
        return self.transport.call("GET", where, VariableDifferences, query=query)

    # -- why

    def why_robot(self, robot: str, *, past: str | None = None, utc_offset_min: int = 0) -> Why:
        """`past`: with all that held it back since then."""
        query: Query | None = {"past": past, "utc_offset_min": utc_offset_min} if past is not None else None
        return self.transport.call("GET", path("api", "robots", robot, "why"), Why, query=query)

    def why_deployment(self, deployment: str) -> Whys:
        return self.transport.call("GET", path("api", "deployments", deployment, "why"), Whys)

    def why_rollout(self, rollout: str) -> Whys:
        return self.transport.call("GET", path("api", "rollouts", rollout, "why"), Whys)

    def why_project(self, project: str, *, environment: str | None = None) -> Whys:
        where = path("api", "projects", project, "why")
        return self.transport.call("GET", where, Whys, query={"environment": environment})
