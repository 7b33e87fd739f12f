"""What one invocation knows: its flags, where it prints, which folder, server, project and time it works with."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lekiwi_deploy.cli.flags import Flags
from lekiwi_deploy.cli.output import Output
from lekiwi_deploy.errors import BadInput

if TYPE_CHECKING:
    from lekiwi_deploy.cli.project import Linked
    from lekiwi_deploy.cli.settings import Profiles, Target
    from lekiwi_deploy.client.api import Api


class Run:
    """Everything is looked up when first asked for: `lekiwi version` reads no file and imports no client."""

    def __init__(self, output: Output) -> None:
        self.flags = Flags()
        self.out = output

    def prepare(self) -> None:
        """Once the command line is read. Raises `BadInput` for a folder that is none."""
        flags, out = self.flags, self.out
        out.json, out.quiet, out.verbose = flags.json, flags.quiet, flags.verbose
        out.no_color = out.no_color or flags.no_color
        if flags.directory:
            try:
                os.chdir(flags.directory)
            except OSError as error:
                raise BadInput(f"-C {flags.directory}: {error.strerror}") from error

    def now(self) -> datetime:
        return datetime.now(UTC)

    @property
    def utc_offset_min(self) -> int:
        """How far local time is ahead of UTC, in minutes: naive times that a person types are in it."""
        offset = datetime.now().astimezone().utcoffset()
        return 0 if offset is None else int(offset.total_seconds() // 60)

    @cached_property
    def linked(self) -> Linked | None:
        """The link of this folder."""
        from lekiwi_deploy.cli import project

        return project.find(Path.cwd())

    @cached_property
    def profiles(self) -> Profiles:
        from lekiwi_deploy.cli.settings import Profiles

        return Profiles.of(os.environ)

    @cached_property
    def target(self) -> Target:
        """The server to ask, with a token if there is one."""
        from lekiwi_deploy.cli import settings

        return settings.choose(
            self.profiles,
            os.environ,
            api=self.flags.api,
            profile=self.flags.profile,
            token_file=self.flags.token_file,
            link_api=self.linked.link.api if self.linked else None,
            insecure_http=self.flags.insecure_http,
        )

    @cached_property
    def api(self) -> Api:
        """The client. Raises `Unauthenticated` without a token."""
        from lekiwi_deploy.cli.settings import require_token

        return self.client(require_token(self.target))

    def client(self, target: Target, *, tries: int = 4) -> Api:
        """A client for that server."""
        from lekiwi_deploy.client.api import Api
        from lekiwi_deploy.client.transport import Transport

        trace = self.out.detail if self.out.verbose else None
        return Api(
            Transport(
                target.api,
                target.token,
                insecure_http=target.insecure_http,
                tries=tries,
                trace=trace,
                reason=self.flags.reason,
            )
        )

    @property
    def environment(self) -> str | None:
        """`-e`, else the link's; None leaves it to the server: the only one with robots, else an error with the choices."""
        if self.flags.environment or self.linked is None or self.flags.project not in (None, self.linked.link.project):
            return self.flags.environment
        return self.linked.link.environment

    @cached_property
    def project(self) -> str:
        """`-p`, else the linked one, else the server's only one. Raises `BadInput` with the choices."""
        if self.flags.project:
            from lekiwi_deploy.wire.ids import checked_name

            return checked_name("a project", self.flags.project)
        if self.linked:
            return self.linked.link.project
        names = [project.name for project in self.api.projects()]
        if len(names) == 1:
            self.out.detail(f"project {names[0]}: the only one on {self.target.api}")
            return names[0]
        raise BadInput(
            "which project? This folder is not linked to one"
            + (f", and {self.target.api} has {', '.join(sorted(names))}" if names else ", and the server has none yet"),
            next=("lekiwi link NAME", *(f"lekiwi … -p {name}" for name in sorted(names)[:3])),
        )

    def tags(self) -> dict[str, str]:
        """`--tag k=v …` as a mapping. Raises `BadInput`."""
        tags: dict[str, str] = {}
        for text in self.flags.tags:
            name, equals, value = text.partition("=")
            if not equals or not name.strip():
                raise BadInput(f"--tag {text[:60]!r}: give it as name=value")
            tags[name.strip()] = value.strip()
        return tags
