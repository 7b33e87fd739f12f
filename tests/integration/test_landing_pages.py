"""What a browser finds where the CLI's links lead."""

import httpx


async def test_a_link_to_a_deployment_leads_to_a_page_that_says_how_to_see_it(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url, trust_env=False, follow_redirects=True) as http:
        page = await http.get("/dep_2hX9kL3m")
        assert page.url.path == "/deployments/dep_2hX9kL3m"
        assert "lekiwi inspect dep_2hX9kL3m" in page.text
        assert "lekiwi status" in (await http.get("/")).text


async def test_anything_else_is_not_found(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        for path in ("/nothing", "/deployments/x", "/dep_2hX9kL3m0"):
            assert (await http.get(path)).status_code == 404


async def test_an_editor_gets_the_schema_of_lekiwi_yaml_without_a_token(api_url: str) -> None:
    async with httpx.AsyncClient(base_url=api_url, trust_env=False) as http:
        answer = await http.get("/schema/lekiwi.yaml.json")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("application/schema+json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["properties"]["services"]["additionalProperties"]["properties"]["port"]["maximum"] == 65535
