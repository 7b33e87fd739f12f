"""The JSON schema and the reference are what the parser does: written out, and compared on examples and on generated files."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import event, given
from hypothesis import strategies as st

from lekiwi_deploy.client.project_schema import schema_bytes
from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.composed_forms import Several
from lekiwi_deploy.server.builds.form_tables import Table
from lekiwi_deploy.server.builds.health_file import CHECK
from lekiwi_deploy.server.builds.json_schema import project_schema, schema_text
from lekiwi_deploy.server.builds.policy_file import ENVIRONMENT
from lekiwi_deploy.server.builds.project_file import PROJECT, read_project_file
from lekiwi_deploy.server.builds.reference import with_reference
from lekiwi_deploy.server.builds.service_file import SERVICE

TOP = Path(__file__).parents[4]
SCHEMA = project_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
EXAMPLES = {
    f"{path.relative_to(TOP)}-{number}": block
    for path in sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("examples/*/*.md")])
    for number, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", path.read_text(), re.M | re.S))
} | {str(path.relative_to(TOP)): path.read_text() for path in sorted(TOP.glob("examples/*/lekiwi.yaml"))}

BEYOND_A_SCHEMA = re.compile(
    r"must be between|includes [a-z0-9/-]+: with|and so (?:has|does)|has no `port`|add `home: true`|whole percentage|unknown key|"
    r"must be a (?:percentage|size|temperature)|the window '|the selector term '|is no time zone|ends before it begins|is there twice"
)
"""What needs two places to be compared, an amount to be computed, or a word to be guessed."""


def parsed(text: str) -> BadInput | None:
    try:
        read_project_file(text.encode())
    except BadInput as error:
        return error
    return None


def test_the_schema_is_a_schema_and_the_package_ships_the_newest() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert schema_bytes().decode() == schema_text(), "run `make docs`"


def test_the_reference_in_the_document_is_the_newest() -> None:
    document = (TOP / "docs/lekiwi-yaml.md").read_text()
    assert with_reference(document) == document, "run `make docs`"


def test_what_writes_them_writes_these_files() -> None:
    spec = importlib.util.spec_from_file_location("generate_documents", TOP / "docs/generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.REFERENCE == TOP / "docs/lekiwi-yaml.md" and module.SCHEMA.read_bytes() == schema_bytes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_read_and_fits_the_schema(name: str) -> None:
    assert parsed(EXAMPLES[name]) is None
    assert [error.message for error in VALIDATOR.iter_errors(yaml.safe_load(EXAMPLES[name]))] == []


def tables() -> list[tuple[str, Table[Any]]]:
    """Every mapping that lekiwi.yaml can hold, with where it is."""
    found: list[tuple[str, Table[Any]]] = [("environment", ENVIRONMENT), ("service", SERVICE)]
    found += [(f"check {table.said}", table) for table in CHECK.tables]
    queue: list[tuple[str, object]] = [(key.name, key.form) for key in (*PROJECT, *SERVICE.keys)]
    for name, form in queue:
        if isinstance(form, Table):
            found.append((name, form))
            queue += [(f"{name}.{key.name}", key.form) for key in form.keys]
    return found


@pytest.mark.parametrize(("name", "table"), tables(), ids=[name for name, _ in tables()])
def test_every_key_is_described_with_a_default_that_its_own_form_reads(name: str, table: Table[Any]) -> None:
    for key in table.keys:
        assert key.doc.endswith(".") and key.form.words(), key.name
        shown = key.shown_default()
        assert key.required or shown, key.name
        if re.fullmatch(r"`[^`{\[]+`", shown) and not key.without and not isinstance(key.form, Several):
            assert jsonschema.Draft202012Validator(key.form.schema()).is_valid(yaml.safe_load(shown.strip("`"))), (
                key.name
            )


SCALARS: list[Any] = [
    "30s", "1m", "500ms", "0.5h", "1000h", "300MB", "1kB", "2GiB", "50%", "30.5%", "75C", "x", "main", "a b", "refs/heads/x", "lock", "stop",
    "auto", "never", "motors", "Motors",
    "22:00-06:00", "Mon-Fri 08:00-09:30", "0 22 * * 1-5 for 8h", "2026-12-24", "hw=v2", "2 per site", "25%", "UTC",
    "/dev/video0", "/dev/ttyUSB*", "/dev/s*", "/dev/mem", "/etc/x", "/srv/maps", "/home/pi/maps", "/home/pi",
    "CAP_NET_RAW", "CAP_SYS_ADMIN", "dialout", "docker", "API_KEY", "LD_PRELOAD", "LEKIWI_X", "kiwi/**", "../x", "/health", "//x", "strict",
    "robot", "", " ", 0, 1, 2, 80, 99, 100, 65536, -1, 0.5, 4.5, 75.25, True, False, None, [], {}, ["x"], ["a", "a"], [1, 2], ["/dev/video0"],
]  # fmt: skip


def fitting(schema: Any) -> st.SearchStrategy[Any]:
    """Values that mostly fit `schema`, out of `SCALARS` where it asks for text or a number."""
    if "anyOf" in schema and "properties" not in schema:
        return st.one_of([fitting(option) for option in schema["anyOf"]])
    if "const" in schema or "enum" in schema:
        return st.sampled_from([schema["const"]] if "const" in schema else schema["enum"])
    if "properties" in schema or "additionalProperties" in schema:
        return objects(schema)
    if schema.get("type") == "array":
        return st.lists(fitting(schema["items"]), min_size=1, max_size=3)
    fit = [value for value in SCALARS if jsonschema.Draft202012Validator(schema).is_valid(value)]
    return st.sampled_from(fit or SCALARS)


def objects(schema: Any) -> st.SearchStrategy[dict[str, Any]]:
    known = {name: broken(fitting(below)) for name, below in schema.get("properties", {}).items()}
    needed = {name: known.pop(name) for name in schema.get("required", ())}
    if isinstance(schema.get("additionalProperties"), dict):
        names = broken(
            st.sampled_from(["web", "base", "production", "staging"]), st.sampled_from(["Web", "tests", "a..b"])
        )
        below = fitting(schema["additionalProperties"])
        more = st.dictionaries(names, below, min_size=schema.get("minProperties", 0), max_size=2)
    else:
        more = broken(st.just({}), st.dictionaries(st.sampled_from(["x", "runs", "prot"]), st.just("x"), max_size=1))
    subset = st.lists(st.sampled_from(sorted(known)), unique=True, max_size=4) if known else st.just([])
    chosen = subset.flatmap(lambda names: st.fixed_dictionaries({name: known[name] for name in names} | needed))
    return st.builds(lambda first, second: {**second, **first}, chosen, more)


def broken(strategy: st.SearchStrategy[Any], other: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[Any]:
    """One time in sixty something else."""
    wrong = other if other is not None else st.sampled_from(SCALARS)
    return st.integers(0, 59).flatmap(lambda roll: wrong if roll == 0 else strategy)


@given(fitting({**SCHEMA, "type": "object"}))
def test_parser_and_schema_agree_on_what_is_accepted(document: dict[str, Any]) -> None:
    text = json.dumps(document, ensure_ascii=False)
    refused = parsed(text)
    fits = VALIDATOR.is_valid(yaml.safe_load(text))
    event(f"parser {'refuses' if refused else 'reads'}, schema {'takes' if fits else 'refuses'}")
    if refused is None:
        assert fits, [error.message for error in VALIDATOR.iter_errors(document)]
    elif fits:
        assert BEYOND_A_SCHEMA.search(refused.message), refused.message


@pytest.mark.parametrize("key", [key for _, table in tables() for key in table.keys], ids=lambda key: key.name)
def test_no_key_is_accepted_without_being_read(key: Any) -> None:
    """A mapping of nonsense fits no key: whatever is written there is looked at."""
    assert not jsonschema.Draft202012Validator(key.form.schema()).is_valid({"nonsense": [1]})


def test_nonsense_is_refused_at_every_key() -> None:
    checked = 0
    for name, table in tables():
        for key in table.keys:
            inside = {other.name: "x" for other in table.keys if other.required} | {key.name: {"nonsense": [1]}}
            document = _placed(name, inside)
            assert parsed(json.dumps(document)) is not None, f"{name}.{key.name}"
            checked += 1
    assert checked > 60


def _placed(name: str, inside: dict[str, Any]) -> dict[str, Any]:
    """A document with the mapping called `name` (see `tables`)."""
    service = {"run": "x", "port": 80}
    match name.split("."):
        case ["environment"]:
            return {"production": {"branch": "main", **inside}}
        case ["service"]:
            return {"services": {"web": {**service, **inside}}}
        case ["needs"] | ["hooks"]:
            return {"services": {"web": {**service, name: inside}}}
        case [one] if one.startswith("check "):
            return {"services": {"web": {**service, "health": [{**inside}]}}}
        case [one]:
            return {one: inside}
    raise AssertionError(name)
