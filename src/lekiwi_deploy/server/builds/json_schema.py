"""lekiwi.yaml as a JSON schema (draft 2020-12), for editors. It says everything that does not need two places to be compared; the build
says the rest, with file and line. Shipped as `lekiwi_deploy/lekiwi.schema.json`, written by `make docs`.
"""

from __future__ import annotations

import json

from lekiwi_deploy.server.builds.forms import NAME, Schema
from lekiwi_deploy.server.builds.policy_file import ENVIRONMENT
from lekiwi_deploy.server.builds.project_file import PROJECT

TITLE = "lekiwi.yaml: a project that LeKiwi Deploy brings to robots"


def project_schema() -> Schema:
    """The schema of the whole file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": TITLE,
        "description": "Everything is optional. Any other top-level name is an environment.",
        "type": ["object", "null"],
        "properties": {key.name: key.schema() for key in PROJECT},
        "propertyNames": {"pattern": NAME},
        "additionalProperties": {"description": "An environment.", **ENVIRONMENT.schema()},
    }


def schema_text() -> str:
    """What the file holds."""
    return json.dumps(project_schema(), indent=1, ensure_ascii=True) + "\n"
