"""Decisions about many robots: rollout plan, link session, selectors of time and version, branch mapping.

Pure: no I/O, no clock, no randomness; those are arguments.
"""
