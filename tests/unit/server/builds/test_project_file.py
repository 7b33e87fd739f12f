from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.project_file import read_project_file
from lekiwi_deploy.server.builds.strict_yaml import ProjectFileError
from lekiwi_deploy.wire.manifest import CommandCheck, HttpCheck, ProcessCheck, TcpCheck
from lekiwi_deploy.wire.policy import RolloutStep, Undo
from lekiwi_deploy.wire.windows import Dates

DESIGN = b"""
build:   {run: "uv sync --frozen"}        # optional; detected otherwise
test:    {run: "pytest -q", timeout: 10m}
services:
  base:
    run: [python, -m, kiwi.base]
    exclusive: motors                     # hardware that one process owns
    files: [kiwi/base/**, kiwi/common/**] # what it is made of
    health: [{process: true}]
  web:
    run: uvicorn kiwi.web:app --port $PORT
    port: 8000                            # blue-green
    health: [{http: /health, interval: 2s, timeout: 2s, retries: 3}]
    env: [API_KEY]                        # names of variables it may read
production:  {branch: main, auto_deploy: false, health_checks: strict, rollback_on_error: true, deployment_window: null}
staging:     {branch: staging, auto_deploy: true, health_checks: normal, rollback_on_error: true}
"""


def test_the_documented_example_is_read() -> None:
    spec = read_project_file(DESIGN)
    assert spec.build is not None and spec.build.run == ("/bin/sh", "-c", "uv sync --frozen")
    assert spec.test is not None and spec.test.timeout_s == 600
    base, web = spec.services
    assert (base.run, base.exclusive, base.files) == (
        ("python", "-m", "kiwi.base"),
        "motors",
        ("kiwi/base/**", "kiwi/common/**"),
    )
    assert base.health == (ProcessCheck(),)
    assert (web.port, web.env) == (8000, ("API_KEY",))
    assert web.health == (HttpCheck(path="/health", interval_s=2, timeout_s=2, retries=3),)
    production, staging = spec.environments
    assert (production.branch, production.policy.auto_deploy, staging.name) == ("main", False, "staging")


def test_an_empty_file_says_nothing() -> None:
    for data in (b"", b"# only a comment\n", b"---\n", b"\xef\xbb\xbf"):
        assert read_project_file(data).services == ()


def test_all_kinds_of_checks_are_read() -> None:
    data = b"""
services:
  a:
    run: x
    port: 80
    health:
      - {tcp: true, within: 1m}
      - {tcp: 81}
      - {command: [true-ish, "1"], timeout: 500ms}
      - {command: "test -e x"}
      - {http: /h, port: 82}
      - {process: true, settle: 3s}
"""
    assert read_project_file(data).services[0].health == (
        TcpCheck(within_s=60),
        TcpCheck(port=81),
        CommandCheck(run=("true-ish", "1"), timeout_s=0.5),
        CommandCheck(run=("/bin/sh", "-c", "test -e x")),
        HttpCheck(path="/h", port=82),
        ProcessCheck(settle_s=3),
    )


MISTAKES = [
    # file, line, key, and what to write instead
    ("servcies: {a: {run: x}}", 1, "servcies", "did you mean 'services'"),
    ("tests: {run: x}", 1, "tests", "did you mean 'test'"),
    ("servcies: {}", 1, "servcies", "did you mean 'services'"),
    ("\nx: 1", 2, "x", "known are build, test, services"),
    ("services:\n  web:\n    run: x\n    helth: []", 4, "services.web.helth", "did you mean 'health'"),
    ("services:\n  web:\n    run: x\n    run: y", 4, "services.web.run", "is there twice (first in line 3)"),
    ("services:\n  web: {port: 80}", 2, "services.web", "needs `run`"),
    ("services: {web: {run: []}}", 1, "services.web.run", "must not be an empty list"),
    ("services: {web: {run: [a, 1]}}", 1, "services.web.run[1]", "must be text, not the number 1: write it in quotes"),
    ("services: {web: {run: {a: b}}}", 1, "services.web.run", "must be text, not a mapping"),
    ("services: {web: {run: ''}}", 1, "services.web.run", "must not be empty"),
    ("services: {}", 1, "services", "names no service"),
    ("services: [a]", 1, "services", "must be a mapping"),
    ("services: {Web: {run: x}}", 1, "services.Web", "cannot name a service"),
    ("services: {web: {run: x, port: 0}}", 1, "services.web.port", "between 1 and 65535"),
    ("services: {web: {run: x, port: 65536}}", 1, "services.web.port", "between 1 and 65535"),
    ("services: {web: {run: x, port: 070}}", 1, "services.web.port", "must be a whole number"),
    ("services: {web: {run: x, port: '80'}}", 1, "services.web.port", "must be a whole number, not '80'"),
    ("services: {web: {run: x, port: 1e3}}", 1, "services.web.port", "must be a whole number"),
    ("services: {a: {run: x, port: 80}, b: {run: x, port: 80}}", 1, "services.b", "and so has 'a'"),
    ("services: {a: {run: x, exclusive: m}, b: {run: x, exclusive: m}}", 1, "services.b", "and so does 'a'"),
    ("services: {a: {run: x, files: [../x]}}", 1, "services.a.files[0]", "inside the project"),
    ("services: {a: {run: x, files: [/etc/x]}}", 1, "services.a.files[0]", "inside the project"),
    ("services: {a: {run: x, env: [LD_PRELOAD]}}", 1, "services.a.env[0]", "cannot be declared"),
    ("services: {a: {run: x, env: [PATH]}}", 1, "services.a.env[0]", "cannot be declared"),
    ("services: {a: {run: x, env: [PYTHONPATH]}}", 1, "services.a.env[0]", "cannot be declared"),
    ("services: {a: {run: x, env: [BASH_ENV]}}", 1, "services.a.env[0]", "cannot be declared"),
    ("services: {a: {run: x, env: ['A=B']}}", 1, "services.a.env[0]", "values do not belong here"),
    ("services: {a: {run: x, env: [A, A]}}", 1, "services.a.env[1]", "twice"),
    ("services: {a: {run: x, stop_grace: 0s}}", 1, "services.a.stop_grace", "between 100ms and 10m"),
    ("services: {a: {run: x, health: {http: /}}}", 1, "services.a.health", "must be a list, not a mapping"),
    ("services: {a: {run: x, health: [{http: /}]}}", 1, "services.a.health[0].http", "has no `port`"),
    ("services: {a: {run: x, port: 1, health: [{http: health}]}}", 1, "services.a.health[0].http", "must be a path"),
    ("services: {a: {run: x, port: 1, health: [{http: //evil/x}]}}", 1, "services.a.health[0].http", "must be a path"),
    ("services: {a: {run: x, port: 1, health: [{htpp: /}]}}", 1, "services.a.health[0].htpp", "did you mean 'http'"),
    ("services: {a: {run: x, port: 1, health: [{http: /, tcp: 1}]}}", 1, "services.a.health[0]", "exactly one of"),
    ("services: {a: {run: x, port: 1, health: [{http: /, timeout: -1s}]}}", 1, "services.a.health[0].timeout", "time span"),
    ("services: {a: {run: x, port: 1, health: [{http: /, retries: 0}]}}", 1, "services.a.health[0].retries", "between 1 and"),
    ("services: {a: {run: x, health: [{process: false}]}}", 1, "services.a.health[0].process", "leave the check out"),
    ("test: pytest", 1, "test", 'for example {run: "pytest -q"}'),
    ("test: {timeout: 1m}", 1, "test", "needs `run`"),
    ("test: {run: x, timeout: 10}", 1, "test.timeout", "needs a unit: write 10s"),
    ("test: {run: x, timeout: soon}", 1, "test.timeout", "time span such as"),
    ("test: {run: x, timeout: 100h}", 1, "test.timeout", "between 1s and 6h"),
    ("production: {auto_deploy: on}", 1, "production.auto_deploy", "must be true or false, not 'on'"),
    ("production: {auto_deploy: 'true'}", 1, "production.auto_deploy", "must be true or false"),
    ("production: {auto_deply: true, branch: main}", 1, "production.auto_deply", "did you mean 'auto_deploy'"),
    ("production: {health_checks: stict}", 1, "production.health_checks", "did you mean 'strict'"),
    ("production: {rollback_on_error: maybe}", 1, "production.rollback_on_error", "must be true, false"),
    ("production: {deployment_window: '22-06'}", 1, "production.deployment_window", "write 22:00-06:00"),
    ("production: {canary: 1}", 1, "production.canary", "did you mean rollout?"),
    ("production: {branch: 1.0}", 1, "production.branch", "must be text, not the number 1.0: write it in quotes"),
    ("production: {branch: 'a b'}", 1, "production.branch", "cannot be a branch's name"),
    ("production: {branch: 2026-01-01}", 1, "production.branch", "takes for a date"),
    ("Production: {branch: main}", 1, "Production", "cannot name an environment"),
    ("production:", 1, "production", "unknown key"),
    ("a: {branch: x}\nb: {branch: x}", 2, "b", "one environment per branch"),
    ("- 1", 1, "", "must be a mapping"),
    ("a: [", 1, "", "not valid YAML"),
    ("a: &x {branch: y}", 1, "", "anchors and aliases"),
    ("a: *x", 1, "", "anchors and aliases"),
    ("a: !!python/object:os.system {}", 1, "", "is not supported: remove it"),
    ("a: {<<: {branch: x}}", 1, "a", "unknown key"),
    ("\n\x07: 1", 2, "", "character that YAML does not allow"),
    ("a: " + "[" * 50, 1, "", "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "hint"), MISTAKES, ids=[text[:40] for text, *_ in MISTAKES])
def test_a_mistake_is_told_with_file_line_key_and_what_to_write(text: str, line: int, key: str, hint: str) -> None:
    with pytest.raises(ProjectFileError) as caught:
        read_project_file(text.encode())
    message = caught.value.message
    assert message.startswith(f"lekiwi.yaml:{line}: " + (f"{key}: " if key else ""))
    assert hint in message


def test_bytes_that_are_no_text_and_files_that_are_too_large_are_refused() -> None:
    with pytest.raises(ProjectFileError, match=r"lekiwi\.yaml:2: the file is not UTF-8"):
        read_project_file(b"a: {branch: b}\n\xff")
    with pytest.raises(ProjectFileError, match="bytes"):
        read_project_file(b"# " + b"x" * 300_000)


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_whatever_the_file_holds_it_is_read_or_refused_in_words(data: bytes) -> None:
    try:
        read_project_file(data)
    except BadInput as error:
        assert error.message.startswith("lekiwi.yaml:")


@given(st.recursive(st.sampled_from(["a", "run", "1", "true", "null", "'x'", "2s", "on"]), lambda inner: st.lists(inner, max_size=3).map(
    lambda parts: "[" + ", ".join(parts) + "]") | st.lists(st.tuples(st.sampled_from(
        ["services", "run", "port", "health", "http", "test", "env", "branch", "files", "timeout"]), inner), max_size=4).map(
    lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"), max_leaves=12))  # fmt: skip
def test_every_shape_of_yaml_is_read_or_refused_in_words(text: str) -> None:
    try:
        read_project_file(text.encode())
    except BadInput as error:
        assert error.message.startswith("lekiwi.yaml:1: ")


def test_an_environment_says_when_in_what_order_and_how_far_back() -> None:
    text = b"""
production:
  branch: main
  auto_deploy: false
  rollback_on_error: wave
  deployment_window: {open: ["Mon-Fri 22:00-06:00", "0 4 * * sun for 3h"], except: [2026-12-24..2026-12-26, 2027-01-01], zone: Europe/Vienna}
  rollout: [{robots: 1, soak: 2m}, {percent: 25%, success: 90, soak: 10m}, {approval: true}, {max_unavailable: 2 per site}]
  max_failures: 3
  in_flight: 10
"""
    (production,) = read_project_file(text).environments
    policy = production.policy
    assert policy.undo is Undo.WAVE
    assert policy.window is not None and policy.window.zone == "Europe/Vienna" and len(policy.window.openings) == 2
    holidays = Dates(date(2026, 12, 24), date(2026, 12, 26))
    assert policy.window.exceptions == (holidays, Dates(date(2027, 1, 1), date(2027, 1, 1)))
    assert policy.steps == (
        RolloutStep(robots=1, soak_s=120),
        RolloutStep(percent=25, success=90, soak_s=600),
        RolloutStep(approval=True),
        RolloutStep(max_unavailable=2, per="site"),
    )
    assert (policy.max_failures, policy.in_flight) == (3, 10)
