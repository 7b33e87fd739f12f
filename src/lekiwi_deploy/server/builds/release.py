"""What a build is given and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass

from lekiwi_deploy.content.ignore import IgnoreRules
from lekiwi_deploy.server.builds import target_platforms
from lekiwi_deploy.server.builds.detect import Detected
from lekiwi_deploy.server.builds.python_project import Source
from lekiwi_deploy.server.builds.report import Report
from lekiwi_deploy.server.builds.spec import ProjectSpec
from lekiwi_deploy.server.builds.workshop import Workshop
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.store.deployments import DeploymentMetadata, DeploymentRow
from lekiwi_deploy.wire.ids import ManifestDigest
from lekiwi_deploy.wire.platforms import Platform

LEFT_BEHIND = (
    "venv/", ".venv/", "__pycache__/", "*.pyc", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/", ".tox/", ".nox/", ".coverage",
)  # fmt: skip
"""What tools leave in a folder and no robot needs."""


class ReleaseRules(IgnoreRules):
    """What belongs to a release: all of it but `LEFT_BEHIND`. A .gitignore has no say, since build outputs are listed there."""

    def with_gitignore(self, text: str) -> IgnoreRules:
        """These rules."""
        return self


@dataclass(frozen=True, slots=True)
class Release:
    """What came of a build. Seconds; `tests` None: there were none. `variables`: names that its services declare, None: of a release that was
    reused, of which that was noted before."""

    stack: str
    input_digest: str
    digest: ManifestDigest
    manifest_size: int
    files: int
    bytes: int
    build_s: float
    test_s: float | None
    tests: str | None
    metadata: DeploymentMetadata
    reused: bool
    variables: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A build under way. `robots`: whether `platforms` are those of robots, not just the server's own."""

    context: Context
    row: DeploymentRow
    report: Report
    shop: Workshop
    platforms: tuple[Platform, ...]
    robots: bool
    spec: ProjectSpec
    found: Detected

    @property
    def title(self) -> str:
        """What people are told is built: `python, uv · linux-x86_64`."""
        python = self.found.python
        if python is None or python.source is Source.NONE:
            return self.found.stack  # the same for every platform
        return f"{self.found.stack} · {target_platforms.shown(self.platforms)}"
