"""What a slot keeps of the variables that came with its deployment: `variables.json`, sealed, beside the manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.content.durable import sync_path, write_durably
from lekiwi_deploy.errors import Failed
from lekiwi_deploy.wire.encoding import encode
from lekiwi_deploy.wire.variables import SealedVariables

FILE = "variables.json"
MODE = 0o600


class StoredVariables(msgspec.Struct, frozen=True, kw_only=True):
    """`given`: as the server sent it. `marks`: name -> what stands for its value in fingerprints; equal when values are, and worth nothing to
    whoever has not the robot's key. They are there from the first opening on, so that what runs is known even if it cannot be opened again."""

    given: SealedVariables
    marks: Mapping[str, str] = {}
    schema: str = "lekiwi.slot-variables/1"

    @property
    def revision(self) -> tuple[str, int]:
        """What there is one version of."""
        return self.given.environment, self.given.revision


def read(slot: Path) -> StoredVariables | None:
    """None: the deployment came with none. Raises `Failed` for a file that cannot be read."""
    try:
        return msgspec.json.decode((slot / FILE).read_bytes(), type=StoredVariables)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failed(f"their file cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Failed("their file is damaged") from None


def write(slot: Path, stored: StoredVariables) -> None:
    """Durably, for root alone. Raises `OSError`."""
    fp("variables.before_write")
    write_durably(slot / FILE, encode(stored), mode=MODE)


def remove(slot: Path) -> None:
    """The deployment has none. Durable on return. Raises `OSError`."""
    fp("variables.before_remove")
    with contextlib.suppress(FileNotFoundError):
        (slot / FILE).unlink()
        sync_path(slot)
