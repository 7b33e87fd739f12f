"""The JSON schema of lekiwi.yaml, for editors. Public: they have no token, and it says nothing of the server."""

from __future__ import annotations

from litestar import Response, get

from lekiwi_deploy.client.project_schema import SCHEMA_PATH, schema_bytes


@get(SCHEMA_PATH, public=True, sync_to_thread=False)
def show_schema() -> Response[bytes]:
    """Draft 2020-12. `# yaml-language-server: $schema=…` at the top of a lekiwi.yaml leads an editor here."""
    headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}
    return Response(schema_bytes(), media_type="application/schema+json", headers=headers)


handlers = [show_schema]
