"""How a Python project that says nothing is run. PURE.

Looked for, in order: Django, Streamlit, Gradio, an ASGI application, a WSGI application, the project's only console script, a package
with `__main__`, a file named main, app, server, run, bot or robot. Web applications get port 8000 through `$PORT`.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from lekiwi_deploy.server.builds.listing import Listing
from lekiwi_deploy.server.builds.python_project import PythonProject
from lekiwi_deploy.server.builds.spec import ServiceSpec, shell
from lekiwi_deploy.wire.manifest import ProcessCheck, TcpCheck

PORT = 8000
MAX_FILES = 300

_ASGI = {"FastAPI", "Starlette", "Litestar", "Quart", "Sanic", "BlackSheep", "Robyn"}
_WSGI = {"Flask", "Bottle", "Dash", "Connexion", "FlaskApp"}
_NAMES = ("app", "main", "wsgi", "asgi", "server", "api", "application", "run", "__init__")
_PROGRAMS = ("main", "app", "server", "run", "bot", "robot", "run_server", "web")
_NOT_CODE = {
    "tests",
    "test",
    "docs",
    "doc",
    "examples",
    "example",
    "scripts",
    "benchmarks",
    "migrations",
    "node_modules",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A service, or in `missing` one line that says why there is none though it was clear what was meant."""

    service: ServiceSpec | None = None
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class _Application:
    module: str
    variable: str
    kind: str  # the class or factory: FastAPI, Flask, create_app
    path: str


def detect_python(listing: Listing, project: PythonProject) -> Found:
    """What to run, or the one line that says what is missing."""
    return next(_candidates(listing, project), Found())


def web_service(command: str) -> ServiceSpec:
    """A service that listens on `$PORT`: it is ready when the port accepts connections. A single program replaces the shell."""
    single = not re.search(r"[;&|<>()`\n]", command) and re.match(r"[\w./-]+(\s|\Z)", command)
    return ServiceSpec(
        name="web", run=shell(f"exec {command}" if single else command), port=PORT, health=(TcpCheck(within_s=60.0),)
    )


def program(*run: str, port: int | None = None) -> ServiceSpec:
    """A service that just runs; with `port` it is one that reads `$PORT`."""
    if port is not None:
        return ServiceSpec(name="web", run=run, port=port, health=(TcpCheck(within_s=60.0),))
    return ServiceSpec(name="main", run=run, health=(ProcessCheck(),))


def _candidates(listing: Listing, project: PythonProject) -> Iterator[Found]:
    names = project.names
    modules = list(_modules(listing))
    if listing.has("manage.py") and ("django" in names or "DJANGO_SETTINGS_MODULE" in listing.text("manage.py")):
        yield _django(listing, names)
    for package, run in (
        ("streamlit", "streamlit run {} --server.port $PORT --server.address 0.0.0.0 --server.headless true"),
        ("gradio", "env GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=$PORT python3 {}"),
    ):
        if package in names:
            for _, path in modules:
                if re.search(rf"^\s*(import {package}|from {package}\b)", listing.text(path), re.M):
                    yield Found(web_service(run.format(shlex.quote(path))))
    applications = [application for module, path in modules for application in _applications(listing, module, path)]
    for application in applications:
        if application.kind in _ASGI:
            yield _asgi(application, project)
    for application in applications:
        if application.kind in _WSGI or (application.kind == "create_app" and "flask" in names):
            yield _wsgi(application, names)
    if len(project.scripts) == 1:
        yield Found(program(next(iter(project.scripts))))
    mains = sorted(path for path in listing.paths if path.endswith("/__main__.py") and _is_code(path))
    for path in mains:
        yield Found(program("python3", "-m", _module(path.removesuffix("/__main__.py") + "/__init__.py")))
    for name in _PROGRAMS:
        for path in (f"{name}.py", f"src/{name}.py"):
            if listing.has(path):
                reads_port = re.search(r"""environ[^\n]{0,20}["']PORT["']|getenv\(["']PORT["']""", listing.text(path))
                yield Found(program("python3", path, port=PORT if reads_port else None))
    if len(project.scripts) > 1:
        names_of = ", ".join(project.scripts)
        yield Found(missing=f"the project has several scripts ({names_of}): say which one in lekiwi.yaml, "
                            f'services: {{main: {{run: "{next(iter(project.scripts))}"}}}}')  # fmt: skip
    top = [
        path
        for path in listing.paths
        if path.endswith(".py") and "/" not in path and path not in ("setup.py", "conftest.py")
    ]
    if len(top) == 1 and 'if __name__ == "__main__"' in listing.text(top[0]).replace("'", '"'):
        yield Found(program("python3", top[0]))


def _django(listing: Listing, names: frozenset[str]) -> Found:
    wsgi = sorted((path for path in listing.paths if path.endswith("/wsgi.py")), key=lambda path: path.count("/"))
    if "gunicorn" in names and wsgi:
        return Found(web_service(f"gunicorn {_module(wsgi[0])} --bind 0.0.0.0:$PORT"))
    return Found(web_service("python3 manage.py runserver 0.0.0.0:$PORT --noreload"))


def _asgi(application: _Application, project: PythonProject) -> Found:
    target = f"{application.module}:{application.variable}"
    if application.kind == "Sanic":
        return Found(web_service(f"sanic {target} --host 0.0.0.0 --port $PORT"))
    for package, run in (
        ("uvicorn", f"uvicorn {target} --host 0.0.0.0 --port $PORT"),
        ("hypercorn", f"hypercorn {target} --bind 0.0.0.0:$PORT"),
        ("granian", f"granian --interface asgi --host 0.0.0.0 --port $PORT {target}"),
    ):
        if package in project.names:
            return Found(web_service(run))
    where = project.source if project.source != "none" else "requirements.txt"
    return Found(
        missing=f"{application.path} has the {application.kind} application {target!r}, but nothing serves it: "
        f"add uvicorn to {where}"
    )


def _wsgi(application: _Application, names: frozenset[str]) -> Found:
    target = f"{application.module}:{application.variable}"
    served = f"{target}.server" if application.kind == "Dash" else target
    if "gunicorn" in names and application.kind != "create_app":
        return Found(web_service(f"gunicorn {served} --bind 0.0.0.0:$PORT"))
    if "waitress" in names:
        call = "--call " if application.kind == "create_app" else ""
        return Found(web_service(f"waitress-serve {call}--listen 0.0.0.0:$PORT {served}"))
    if application.kind in ("Flask", "create_app", "Dash"):
        named = application.module if application.kind == "create_app" else served
        return Found(web_service(f"env FLASK_APP={named} flask run --host 0.0.0.0 --port $PORT"))
    return Found(program("python3", application.path))


def _modules(listing: Listing) -> Iterator[tuple[str, str]]:
    """(module, path) of what may hold an application, likeliest first."""
    paths = [path for path in listing.paths if path.endswith(".py") and _is_code(path)]

    def likelihood(path: str) -> tuple[int, int, str]:
        name = path.rsplit("/", 1)[-1].removesuffix(".py")
        return path.removeprefix("src/").count("/"), _NAMES.index(name) if name in _NAMES else len(_NAMES), path

    for path in sorted(paths, key=likelihood)[:MAX_FILES]:
        yield _module(path), path


def _is_code(path: str) -> bool:
    parts = path.split("/")
    return not _NOT_CODE.intersection(parts[:-1]) and not parts[-1].startswith(("test_", "conftest"))


def _module(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _applications(listing: Listing, module: str, path: str) -> Iterator[_Application]:
    text = listing.text(path)
    if not any(kind in text for kind in (*_ASGI, *_WSGI, "create_app")):
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    makers = _makers(tree)
    for node in tree.body:
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if isinstance(value, ast.Call) and targets and isinstance(targets[0], ast.Name):
            kind = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            if kind in _ASGI | _WSGI:
                yield _Application(module, targets[0].id, kind, path)
            elif kind in makers or kind == "create_app":
                yield _Application(module, targets[0].id, makers.get(kind, "Flask"), path)
        elif isinstance(node, ast.FunctionDef) and node.name == "create_app":
            yield _Application(module, "create_app", "create_app", path)


def _makers(tree: ast.Module) -> dict[str, str]:
    """Functions of the module that make an application: name -> its class."""
    found: dict[str, str] = {}
    for function in tree.body:
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
                if name in _ASGI | _WSGI:
                    found[function.name] = name
    return found
