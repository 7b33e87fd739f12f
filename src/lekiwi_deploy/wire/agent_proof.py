"""That a server wants a release of the agent on a robot: an HMAC under a key that only the server and the robot's root know.

The link ends in the part of the agent that has no rights. Whoever took that over must not be able to have another agent installed, so
what the server wants of the agent is proved to the part that has the rights.
"""

from __future__ import annotations

import hashlib
import hmac

from lekiwi_deploy.wire.ids import RobotId
from lekiwi_deploy.wire.link import AgentWanted


def update_key(server_secret: bytes, robot: RobotId, public_key: bytes) -> bytes:
    """The key of a robot for as long as it has the key pair that it joined with."""
    return hmac.digest(server_secret, f"lekiwi-agent-update:{robot}:{public_key.hex()}".encode(), hashlib.sha256)


def proof(key: bytes, robot: RobotId, wanted: AgentWanted) -> str:
    """What belongs into `wanted.proof`."""
    said = f"{robot}\n{wanted.release}\n{wanted.digest}\n{wanted.size}\n{wanted.attempt}\n{wanted.again}"
    return hmac.new(key, said.encode(), hashlib.sha256).hexdigest()


def is_proved(key: bytes, robot: RobotId, wanted: AgentWanted) -> bool:
    """Whether the holder of `key` wants it."""
    return hmac.compare_digest(proof(key, robot, wanted), wanted.proof)
