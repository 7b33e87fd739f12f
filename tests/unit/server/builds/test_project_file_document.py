"""docs/lekiwi-yaml.md: its example is read, and it names everything that may be written."""

from __future__ import annotations

import re
from pathlib import Path

from lekiwi_deploy.server.builds import health_file, policy_file, project_file, service_file
from lekiwi_deploy.server.builds.project_file import read_project_file
from lekiwi_deploy.server.git.pushed import OPTIONS

DOCUMENT = (Path(__file__).parents[4] / "docs/lekiwi-yaml.md").read_text()


def test_the_example_is_read() -> None:
    example = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.S)[0]
    spec = read_project_file(example.encode())
    assert len(spec.services) == 2 and len(spec.environments) == 2 and spec.build and spec.test


def test_every_key_and_choice_is_named() -> None:
    keys = {
        *project_file.KEYS, "run", "timeout", *service_file.SERVICE.names, *health_file.KINDS, "interval", "retries", "within", "settle",
        *policy_file.KEYS, *policy_file.HEALTH_CHECKS, *policy_file.ROLLBACK_SCOPES, *OPTIONS,
    }  # fmt: skip
    assert {key for key in keys if not re.search(rf"\b{key}\b", DOCUMENT)} == set()
