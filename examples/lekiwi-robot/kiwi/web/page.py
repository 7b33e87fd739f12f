"""The page, as text."""

from __future__ import annotations

HEADING = "LeKiwi"
COLOUR = "#2f6f3e"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def page(robot: str, version: str) -> str:
    """The HTML of `/` for the robot of that name, running that version."""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{_escaped(robot)}</title>
<style>
  body {{ font-family: system-ui, sans-serif; margin: 2rem; color: #222 }}
  h1 {{ color: {COLOUR} }}
  img {{ width: 480px; max-width: 100%; image-rendering: pixelated; border: 1px solid #ccc }}
</style>
<h1>{HEADING} · {_escaped(robot)}</h1>
<p>version {_escaped(version)}</p>
<img src="/camera" alt="what the robot sees">
</html>
"""
