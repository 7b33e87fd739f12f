"""Every verb: where it is, what it does in a line, under which heading. Help needs nothing else, so it imports nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Entry:
    """`attribute` of the module `verbs.<module>` is the command."""

    section: str
    module: str
    attribute: str
    help: str
    hidden: bool = False


_START, _SHIP, _LOOK, _FLEET, _SETUP = "Start", "Ship", "Look", "Fleet and people", "This program"

VERBS: Mapping[str, Entry] = MappingProxyType(
    {
        "login": Entry(_START, "login", "login", "Log in to a server with a token."),
        "init": Entry(_START, "init", "init", "Write a lekiwi.yaml that fits this folder."),
        "link": Entry(_START, "link", "link", "Link this folder to a project, and git to the server."),
        "deploy": Entry(_SHIP, "deploy", "deploy", "Deploy this folder, or a branch, tag or commit."),
        "rollback": Entry(_SHIP, "rollback", "rollback", "Go back: to the last good one, a version, a time."),
        "undo": Entry(_SHIP, "undo", "undo", "Take the last change back, of any kind, or a certain one."),
        "rollout": Entry(_SHIP, "rollout", "rollout", "Look at a gradual rollout, and steer it."),
        "preview": Entry(_SHIP, "preview", "preview", "Branches on lent robots: list, open, prolong, end."),
        "promote": Entry(_SHIP, "promote", "promote", "What runs in one environment to another, byte for byte."),
        "alias": Entry(_SHIP, "alias", "alias", "Call a deployment something; move an environment to one."),
        "redeploy": Entry(_SHIP, "redeploy", "redeploy", "Deploy the same content again, with today's variables."),
        "approve": Entry(_SHIP, "approve", "approve", "Say yes to what waits to go live; alone: what waits."),
        "reject": Entry(_SHIP, "approve", "reject", "Say no to what waits to go live."),
        "approvals": Entry(_SHIP, "approve", "approvals", "What waits for people.", hidden=True),
        "cancel": Entry(_SHIP, "cancel", "cancel", "Stop a deployment: its build, its wait, its waves."),
        "env": Entry(_SHIP, "env", "env", "Variables of services: add, list, update, remove, compare."),
        "freeze": Entry(_SHIP, "freeze", "freeze", "Stop pushes from going live by themselves."),
        "unfreeze": Entry(_SHIP, "freeze", "unfreeze", "Let pushes go live again."),
        "status": Entry(_LOOK, "status", "status", "What is live where, and what waits for what."),
        "why": Entry(_LOOK, "why", "why", "Why a robot does not run what it should, and what to do."),
        "list": Entry(_LOOK, "listing", "listing", "Recent deployments."),
        "ls": Entry(_LOOK, "listing", "listing", "Recent deployments.", hidden=True),
        "inspect": Entry(_LOOK, "inspect", "inspect", "One deployment: what it is, how it fares."),
        "diff": Entry(_LOOK, "diff", "diff", "What differs between two deployments or environments."),
        "logs": Entry(_LOOK, "logs", "logs", "What the robots' services write, and what builds wrote."),
        "activity": Entry(_LOOK, "activity", "activity", "Who changed what, why, and how to take it back."),
        "open": Entry(_LOOK, "open", "open_", "Open the server in a browser."),
        "environments": Entry(
            _FLEET, "environments", "environments", "Where deployments go: branch, robots and policy of each."
        ),
        "groups": Entry(_FLEET, "groups", "groups", "Sets of robots by their labels."),
        "robots": Entry(_FLEET, "robots", "robots", "Add, list, label and remove robots."),
        "projects": Entry(_FLEET, "projects", "projects", "The projects on the server."),
        "tokens": Entry(_FLEET, "tokens", "tokens", "Make, list and revoke tokens."),
        "server": Entry(_FLEET, "server", "server", "Run a server on this machine."),
        "whoami": Entry(_SETUP, "whoami", "whoami", "Who you are to the server."),
        "logout": Entry(_SETUP, "logout", "logout", "Forget the token."),
        "unlink": Entry(_SETUP, "unlink", "unlink", "Undo `lekiwi link`."),
        "doctor": Entry(_SETUP, "doctor", "doctor", "Check that everything here fits together."),
        "completion": Entry(_SETUP, "completion", "completion", "Print a shell's completion script."),
        "schema": Entry(_SETUP, "schema", "schema", "Print the JSON schema of lekiwi.yaml, for editors."),
        "version": Entry(_SETUP, "version", "version", "Print the version."),
        "api": Entry(_SETUP, "api", "api", "Send one request to the server's API."),
        "git-credential": Entry(_SETUP, "git_credential", "git_credential", "Answer git's question for a token.", True),
    }
)
