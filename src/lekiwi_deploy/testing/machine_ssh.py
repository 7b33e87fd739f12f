"""Ways into a machine: its host key, keys and passwords of its people, and the options that `ssh` needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lekiwi_deploy.testing.machine_tools import call

if TYPE_CHECKING:
    from lekiwi_deploy.testing.machine import Machine


@dataclass(frozen=True)
class Key:
    """A private key without a passphrase, in a file; the public one beside it."""

    private: Path

    @property
    def public(self) -> str:
        """One line of authorized_keys."""
        return self.private.with_name(f"{self.private.name}.pub").read_text().strip()


def make_key(folder: Path, name: str = "id_ed25519") -> Key:
    """A new key of a person."""
    folder.mkdir(parents=True, exist_ok=True)
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "a test", "-f", folder / name)
    return Key(folder / name)


def make_host_key(root: Path) -> None:
    """The key by which a machine is known."""
    call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", root / "etc/ssh/ssh_host_ed25519_key")


def known_hosts(machine: Machine) -> str:
    """The line of known_hosts that names it."""
    key = (machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()
    return f"{machine.address} {key[0]} {key[1]}\n"


def let_in(
    machine: Machine, *, user: str = "pi", key: Key | None = None, password: str | None = None, sudo: str = "free"
) -> None:
    """Let a person in by key, by password, or both. `sudo`: "free" (asks nothing), "password", or "no"."""
    root = machine.root
    if key is not None:
        home = "root" if user == "root" else f"home/{user}"
        folder = root / home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        (folder / "authorized_keys").write_text(f"{key.public}\n")
        call("chroot", root, "chown", "-R", f"{user}:", f"/{home}/.ssh")
    if password is not None:
        hashed = call("openssl", "passwd", "-6", password).strip()
        call("chroot", root, "usermod", "--password", hashed, user)
    rules = {"free": f"{user} ALL=(ALL) NOPASSWD: ALL\n", "password": f"{user} ALL=(ALL) ALL\n", "no": ""}
    (root / f"etc/sudoers.d/{user}").write_text(rules[sudo])
    (root / f"etc/sudoers.d/{user}").chmod(0o440)


def options(machine: Machine, folder: Path, key: Key | None = None) -> list[str]:
    """Options for `ssh` to it, from its network's server side. `folder`: where known_hosts is written."""
    known = folder / f"known_hosts.{machine.name}"
    known.write_text(known_hosts(machine))
    identity = ["-o", "IdentitiesOnly=yes", "-i", str(key.private)] if key is not None else []
    return ["-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", *identity]
