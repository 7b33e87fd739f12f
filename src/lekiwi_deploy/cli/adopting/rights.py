"""How commands get the rights of root on a machine: by being root, by sudo without a password, or by sudo with one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lekiwi_deploy.cli.adopting.ssh import Done, Ssh
from lekiwi_deploy.errors import LekiwiError, NotAllowed, Unauthenticated

_WHO = "id -u; id -un; if command -v sudo >/dev/null 2>&1; then sudo -k -n true >/dev/null 2>&1 && echo free || echo password; else echo none; fi"
_TRIES = 3


@dataclass(frozen=True)
class Rights:
    """`prefix`: what stands before a command; `password`: the line that goes before its input. `how`: for a person."""

    user: str
    prefix: tuple[str, ...]
    password: bytes
    how: str

    def run(
        self,
        ssh: Ssh,
        command: Sequence[str],
        *,
        stdin: bytes = b"",
        on_line: Callable[[str], None] | None = None,
        timeout_s: float = 120.0,
    ) -> Done:
        """As `Ssh.run`, as root."""
        return ssh.run(
            shlex.join([*self.prefix, *command]), stdin=self.password + stdin, on_line=on_line, timeout_s=timeout_s
        )


def find_rights(ssh: Ssh, ask: Callable[[str, bool], str | None]) -> Rights:
    """How to be root there. `ask(user, again)`: the password that the user's sudo wants, or None when nobody can be asked.

    Raises `NotAllowed` when there is no way, `Unauthenticated` for a wrong password.
    """
    uid, user, sudo = [*ssh.run(_WHO).text.split(), "", "", ""][:3]
    if uid == "0":
        return Rights("root", (), b"", "root")
    if sudo == "free":
        return Rights(user, ("sudo", "-n", "--"), b"", f"{user}, with sudo")
    host = ssh.route.target.rpartition("@")[2]
    if sudo != "password":
        raise NotAllowed(
            f"{user} has no sudo on {host}, and installing services needs the rights of root",
            next=(
                f"lekiwi robots adopt root@{host}",
                "apt install sudo && adduser " + user + " sudo   # as root on it",
            ),
        )
    error: LekiwiError = NotAllowed(
        f"sudo on {host} asks {user} for a password, and there is nobody to ask here",
        next=("add --sudo-password, and give it on the first line of stdin", f"lekiwi robots adopt root@{host}"),
    )
    for attempt in range(_TRIES):
        password = ask(user, attempt > 0)
        if password is None:
            break
        line = password.encode() + b"\n"
        # -k: a password that sudo remembered would leave ours in front of the command's input
        rights = Rights(user, ("sudo", "-k", "-S", "-p", "", "--"), line, f"{user}, with sudo and its password")
        done = rights.run(ssh, ("true",))
        if done.code == 0:
            return rights
        if "not in the sudoers" in done.err or "not allowed" in done.err or "may not run" in done.err:
            raise NotAllowed(
                f"{user} may not use sudo on {host}",
                next=(f"adduser {user} sudo   # as root on it", f"lekiwi robots adopt root@{host}"),
            )
        error = Unauthenticated(
            f"sudo on {host} does not take that password of {user}", next=(f"ssh {ssh.route.target} sudo -v",)
        )
    raise error
