"""The protocol number and its history."""

from __future__ import annotations

PROTOCOL = 1
"""What agents and servers say to each other first. A server understands its own number and the one
before it; an agent that is older or newer is refused with a message that says which side to upgrade.

History:

1. First release (0.1): challenge/hello/welcome, desired states with epoch and generation, two
   acknowledged spools (`events`, `logs`), tickets for content.
"""

OLDEST_UNDERSTOOD = 1
