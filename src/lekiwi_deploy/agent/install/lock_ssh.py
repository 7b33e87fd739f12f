"""No more passwords over SSH: what adoption offers at its end, and how it is undone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lekiwi_deploy.agent.install import systemctl
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.content.durable import sync_path, write_durably
from lekiwi_deploy.errors import Conflict, Failed, NotAllowed, NotFound

SETTINGS = "etc/ssh/sshd_config.d/00-lekiwi.conf"
"""First by name, since sshd takes the first value that it reads."""
_TEXT = """\
# Written by `lekiwi-agent lock-ssh`: people log in with keys, not with passwords.
# Undo: lekiwi-agent lock-ssh --undo
PasswordAuthentication no
KbdInteractiveAuthentication no
"""


def lock(paths: Paths, user: str) -> None:
    """From now on nobody logs in with a password. `user`: who must be able to with a key. Nothing has changed when this raises
    `NotAllowed` (not root), `Conflict` (no key would let that user in), `NotFound` (no such user), or `Failed` (sshd refuses)."""
    _as_root()
    if not _keys_of(user):
        raise Conflict(
            f"{user} has no key to log in with on this machine, so nobody could log in any more",
            next=(f"ssh-copy-id {user}@HOST   # from where you log in",),
        )
    target = paths.root / SETTINGS
    target.parent.mkdir(parents=True, exist_ok=True)
    before = target.read_bytes() if target.exists() else None
    write_durably(target, _TEXT.encode())
    try:
        effective = _sshd("-T")
        wrong = [
            name
            for name in ("passwordauthentication", "kbdinteractiveauthentication")
            if f"\n{name} no\n" not in f"\n{effective}"
        ]
        if "\npubkeyauthentication yes\n" not in f"\n{effective}":
            raise Conflict("sshd on this machine takes no keys (PubkeyAuthentication), so nobody could log in any more")
        if wrong:
            raise Failed(f"/etc/ssh/sshd_config does not read {target}, or sets {wrong[0]} before: nothing was changed")
        _sshd("-t")
    except BaseException:
        if before is None:
            target.unlink()
        else:
            write_durably(target, before)
        raise
    _reload()


def unlock(paths: Paths) -> None:
    """As it was before `lock`. Raises `NotFound` when it is not locked by us."""
    _as_root()
    target = paths.root / SETTINGS
    if not target.exists():
        raise NotFound(f"SSH is not locked by lekiwi-agent: there is no {target}")
    target.unlink()
    sync_path(target.parent)
    _reload()


def _as_root() -> None:
    if os.geteuid() != 0:
        raise NotAllowed("sshd's settings are root's", next=("sudo lekiwi-agent lock-ssh …",))


def _keys_of(user: str) -> list[str]:
    """The keys that the user's own files list."""
    import pwd

    try:
        home = Path(pwd.getpwnam(user).pw_dir)
    except KeyError:
        raise NotFound(f"there is no user {user!r} on this machine") from None
    found = []
    for name in ("authorized_keys", "authorized_keys2"):
        try:
            lines = (home / ".ssh" / name).read_text(errors="replace").splitlines()
        except OSError:
            continue
        found += [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return found


def _sshd(option: str) -> str:
    program = next((path for path in ("/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd") if Path(path).exists()), None)
    if program is None:
        raise NotFound("there is no sshd on this machine")
    done = subprocess.run([program, option], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Failed(f"sshd would not start with these settings, so nothing was changed: {done.stderr.strip()}")
    return done.stdout


def _reload() -> None:
    """Connections that are open go on."""
    for unit in ("ssh.service", "sshd.service"):
        if systemctl.properties(unit, "ActiveState").get("ActiveState") == "active":
            systemctl.call("reload", unit)
            return
