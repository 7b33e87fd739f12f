"""Who wrote a deployment, as far as that is known."""

from __future__ import annotations

from lekiwi_deploy.errors import LekiwiError
from lekiwi_deploy.server.context import Context
from lekiwi_deploy.server.git.repositories import git, repository_path
from lekiwi_deploy.server.store.deployments import DeploymentRow

MAX_AUTHOR = 300


async def author_of(context: Context, row: DeploymentRow) -> str | None:
    """`Anna Moser <anna@example.org>` out of the project's repository; the name alone where the commit is not there; None: a plain folder."""
    repository = repository_path(context.config.data, row.project)
    if row.commit_sha is not None and repository.exists():
        try:
            out = await git(
                context.config.data, repository, "log", "-1", "--format=%an <%ae>", "--end-of-options", row.commit_sha
            )
        except LekiwiError:
            return row.author
        said = "".join(c for c in out.decode("utf-8", "replace").strip() if c.isprintable())[:MAX_AUTHOR]
        return said or row.author
    return row.author
