"""Small public-style apps without a lekiwi.yaml: detected, built, running."""

from collections.abc import Callable

from acceptance_world import World

from lekiwi_deploy.testing.waiting import eventually

Worlds = Callable[[int], World]

FLASK = {
    "requirements.txt": "flask==3.1.1\n",
    "app.py": """\
from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello():
    return "hello from flask"


if __name__ == "__main__":
    app.run(debug=True)
""",
    "README.md": "# A small app\n",
}

FASTAPI = {
    "pyproject.toml": """\
[project]
name = "small-api"
version = "1.4.0"
requires-python = ">=3.11"
dependencies = ["fastapi==0.115.12", "uvicorn==0.34.2"]
""",
    "main.py": """\
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def hello() -> dict[str, str]:
    return {"hello": "from fastapi"}
""",
}


def _push(world: World, files: dict[str, str]) -> None:
    world.code.git("rm", "-qrf", ".").ok()
    world.code.commit("A small app", files)
    pushed = world.push()
    assert pushed.code == 0, pushed.err
    assert "Live on 1/1" in pushed.err, pushed.err


def _answers(world: World, text: str) -> None:
    (robot,) = world.robots

    def answered() -> bool:
        return any(text in robot.get(port) for port in (8000, 5000, 8080))

    eventually(f"the app answers {text!r}", answered)


def test_a_flask_app_with_requirements_runs_without_any_configuration(world_with: Worlds) -> None:
    world = world_with(1)
    _push(world, FLASK)
    _answers(world, "hello from flask")


def test_a_fastapi_app_with_pyproject_runs_without_any_configuration(world_with: Worlds) -> None:
    world = world_with(1)
    _push(world, FASTAPI)
    _answers(world, "from fastapi")
    assert world.newest().version.startswith("v1.4.0") or world.newest().version.startswith("1.4.0")


def test_a_folder_with_a_run_executable_is_all_it_takes(world_with: Worlds) -> None:
    world = world_with(1)
    _push(world, {"run": "#!/bin/sh\necho hello from a plain folder\nexec sleep 1000\n"})
    eventually("it runs", lambda: "hello from a plain folder" in world.lekiwi("logs").ok().out)


def test_what_cannot_be_detected_is_refused_with_how_to_say_it(world_with: Worlds) -> None:
    world = world_with(0)
    world.code.git("rm", "-qrf", ".").ok()
    world.code.commit("Only words", {"notes.txt": "nothing to run\n"})
    pushed = world.push()
    assert pushed.code != 0
    assert "lekiwi.yaml" in pushed.err, pushed.err
