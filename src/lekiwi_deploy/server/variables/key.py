"""The key that variables are sealed with at rest. It is in a file, never in the database: neither is of use without the other."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
)
from nacl.exceptions import CryptoError

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.fleet.variables import Version
from lekiwi_deploy.server.engines.postgres import write_private

_HEX = re.compile(r"[0-9a-f]{64}\n?\Z")
_NONCE = int(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES)


@dataclass(frozen=True, slots=True)
class VariablesKey:
    """32 secret bytes. What is sealed with it opens only for the project, scope and name that it was sealed for."""

    secret: bytes = field(repr=False)

    @property
    def check(self) -> str:
        """16 hex digits that tell one key from another and nothing else of it."""
        return self._keyed("check", b"", 8)

    def seal(self, project: str, scope: str, of: str, name: str, value: str, random: Callable[[int], bytes]) -> bytes:
        """XChaCha20-Poly1305: 24 bytes of nonce, then the value sealed."""
        nonce = random(_NONCE)
        bound = _bound(project, scope, of, name)
        return nonce + bytes(crypto_aead_xchacha20poly1305_ietf_encrypt(value.encode(), bound, nonce, self.secret))

    def open(self, project: str, version: Version) -> str:
        """The value of a version that is not a removal. Raises `Failed`: it was sealed with another key, or for something else."""
        if version.sealed is None:
            raise ValueError(f"{version.name} was removed")
        if version.lost:
            raise Failed(
                f"the value of {version.name} of {version.whose} went with the key that was lost: set it again",
                next=(f"lekiwi env update {version.name}",),
            )
        bound = _bound(project, version.scope, version.of, version.name)
        nonce, sealed = version.sealed[:_NONCE], version.sealed[_NONCE:]
        try:
            return bytes(crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, bound, nonce, self.secret)).decode()
        except (CryptoError, ValueError):
            raise Failed(
                f"{version.name} of {version.whose} (revision {version.revision}) cannot be opened: it was sealed with another key, or its "
                "row was tampered with",
                next=(f"lekiwi env update {version.name}",),
            ) from None

    def fingerprint(self, project: str, name: str, value: str) -> str:
        """12 hex digits: equal for equal values of that name in that project, and of no use to guess a value without the key."""
        return self._keyed("fingerprint", b"\0".join([project.encode(), name.encode(), value.encode()]), 6)

    def _keyed(self, use: str, what: bytes, size: int) -> str:
        own = hashlib.blake2b(use.encode(), key=self.secret, digest_size=32).digest()
        return hashlib.blake2b(what, key=own, digest_size=size).hexdigest()


def _bound(project: str, scope: str, of: str, name: str) -> bytes:
    return b"\0".join(part.encode() for part in ("lekiwi variable 1", project, scope, of, name))


def read_key(path: Path) -> VariablesKey | None:
    """The key in the file; None: there is no such file. Raises `Failed` when it holds none, or others may read it."""
    try:
        mode, text = path.stat().st_mode, path.read_text("ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"the variables' key {path} cannot be read: {error.strerror}") from error
    if not _HEX.match(text):
        raise Failed(
            f"{path} holds no key: 64 hex digits are expected. Put the one back that was made with this server's data"
        )
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Failed(f"others may read the variables' key {path}", next=(f"chmod 600 {path}",))
    return VariablesKey(bytes.fromhex(text.strip()))


def make_key(path: Path, random: Callable[[int], bytes]) -> VariablesKey:
    """A new key, in the file before it is used. Raises `Failed` when that cannot be written."""
    key = VariablesKey(random(32))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, key.secret.hex())
    except OSError as error:
        raise Failed(f"the variables' key cannot be written to {path}: {error.strerror}") from error
    return key
