"""What a project is made with, and what to run when it does not say. PURE, over a listing of its files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.detect_python import PORT, Found, detect_python, program, web_service
from lekiwi_deploy.server.builds.listing import Listing
from lekiwi_deploy.server.builds.python_project import PythonProject, python_project
from lekiwi_deploy.server.builds.spec import ServiceSpec

SAY = 'say it in lekiwi.yaml: services: {main: {run: "COMMAND"}}'

_OTHERS = (
    ("package.xml", "a ROS 2 package", 'build: {run: "colcon build"}'),
    ("Cargo.toml", "a Rust project", 'build: {run: "cargo build --release"}'),
    ("go.mod", "a Go project", 'build: {run: "go build -o app ."}'),
    ("CMakeLists.txt", "a CMake project", 'build: {run: "cmake -B out && cmake --build out"}'),
    ("pom.xml", "a Maven project", 'build: {run: "mvn package"}'),
    ("Gemfile", "a Ruby project", 'build: {run: "bundle install"}'),
    ("Pipfile", "a Pipfile", 'requirements.txt (pipenv requirements > requirements.txt)'),
    ("environment.yml", "a conda environment", "requirements.txt"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class NodeProject:
    """`install`: npm's arguments; None: it has no dependencies. `locked`: there is a lock file."""

    install: tuple[str, ...] | None
    locked: bool


@dataclass(frozen=True, slots=True)
class Detected:
    """`stack` as people are told. `service` None: nothing to run was found, and `missing` says so in one line."""

    stack: str
    python: PythonProject | None = None
    node: NodeProject | None = None
    service: ServiceSpec | None = None
    missing: str | None = None


def detect(listing: Listing) -> Detected:
    """What the project is. Raises `BadInput` for a project file that cannot be read at all."""
    python = python_project(listing)
    package = _package(listing)
    node = _node(listing, package, beside=python is not None) if package is not None else None
    stack = python.stack if python else "node" if node else "static" if listing.has("index.html") else "plain"
    if python and node:
        stack += " + node"
    found = _run(listing, python, package)
    missing = None if found.service else found.missing or _missing(listing, python)
    return Detected(stack=stack, python=python, node=node, service=found.service, missing=missing)


def _run(listing: Listing, python: PythonProject | None, package: dict[str, Any] | None) -> Found:
    web = re.search(r"^web:\s*(\S.*)$", listing.text("Procfile"), re.M)
    if web:
        return Found(web_service(web[1].strip()))
    if "run" in listing.executables:
        reads_port = "PORT" in listing.text("run")
        return Found(program("./run", port=PORT if reads_port else None))
    if python is not None:
        found = detect_python(listing, python)
        if found.service or found.missing:
            return found
    if package is not None:
        return _node_service(listing, package)
    if listing.has("index.html"):
        return Found(web_service("python3 -m http.server $PORT"))
    if listing.has("run"):
        return Found(missing="`run` is not executable: git update-index --chmod=+x run, commit, push again")
    return Found()


def _package(listing: Listing) -> dict[str, Any] | None:
    data = listing.read("package.json")
    if data is None:
        return None
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"package.json cannot be read: {error}") from error
    if not isinstance(parsed, dict):
        raise BadInput("package.json must hold an object")
    return parsed


def _node(listing: Listing, package: dict[str, Any], *, beside: bool) -> NodeProject | None:
    """`beside` a Python project, packages for development alone (formatters and the like) are nothing that a robot needs."""
    locked = listing.has("package-lock.json", "npm-shrinkwrap.json")
    keys = ("dependencies", "optionalDependencies", "workspaces", *(() if beside else ("devDependencies",)))
    if not any(package.get(key) for key in keys):
        return None if beside else NodeProject(None, locked)
    return NodeProject(("ci",) if locked else ("install", "--no-package-lock"), locked)


def _node_service(listing: Listing, package: dict[str, Any]) -> Found:
    scripts = package.get("scripts")
    start = scripts.get("start") if isinstance(scripts, dict) else None
    if isinstance(start, str) and start.strip():
        return Found(web_service(start.strip()))
    entry = package.get("main")
    names = [entry] if isinstance(entry, str) else []
    for name in (*names, "server.js", "index.js", "app.js", "main.js"):
        if name.removeprefix("./") in listing.paths:
            return Found(program("node", name.removeprefix("./")))
    return Found(missing='package.json has no "start" script and there is no server.js: add one, or ' + SAY)


def _missing(listing: Listing, python: PythonProject | None) -> str:
    if python is not None:
        return f"no program was found to run (no web application, script, __main__ or main.py): {SAY}"
    for name, what, build in _OTHERS:
        if listing.has(name):
            return f"this is {what}, which needs to be told how to build and run: add {build}, and {SAY}"
    if not listing.paths:
        return "there are no files"
    return f"nothing to run was found: add an executable file named `run`, or {SAY}"
