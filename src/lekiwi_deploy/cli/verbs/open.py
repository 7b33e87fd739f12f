"""`lekiwi open`"""

from __future__ import annotations

import os
import sys

import click
import msgspec

from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `browser`: one was asked to show it."""

    url: str
    browser: bool
    schema: str = "lekiwi.open/1"


@click.command("open", cls=Verb)
@click.argument("deployment", required=False)
@click.option("--no-browser", is_flag=True, help="Only print the URL.")
@click.pass_obj
def open_(run: Run, deployment: str | None, no_browser: bool) -> None:
    """Open the server, or a deployment's page, in a browser; prints the URL."""
    url = run.target.api
    if deployment is not None:
        made = run.api.deployment(deployment).deployment
        url = made.url or f"{url}/{made.id}"
    screen = sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    browser = False
    if screen and not no_browser and not run.out.json:
        import webbrowser

        browser = webbrowser.open(url)
    run.out.line(url)
    run.out.object(Opened(url=url, browser=browser))
