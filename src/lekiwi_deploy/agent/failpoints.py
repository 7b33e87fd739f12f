"""Failpoints of the agent: see `content.failpoints`, where all of them are named."""

from __future__ import annotations

from lekiwi_deploy.content.failpoints import AGENT, NAMES, arm, fp

__all__ = ["AGENT", "NAMES", "arm", "fp"]
