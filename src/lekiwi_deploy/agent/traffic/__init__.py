"""Bringing connections to the process that serves."""
