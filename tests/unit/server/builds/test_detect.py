from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.errors import BadInput
from lekiwi_deploy.server.builds.detect import Detected, detect
from lekiwi_deploy.server.builds.listing import listing_of

FLASK = b"from flask import Flask\napp = Flask(__name__)\n"
FASTAPI = b"from fastapi import FastAPI\napi: FastAPI = FastAPI()\n"


def detected(executables: tuple[str, ...] = (), /, **files: bytes) -> Detected:
    """Files with `__` for `/` and `_DOT_` for `.` in their names."""
    named = {name.replace("__", "/").replace("_DOT_", "."): content for name, content in files.items()}
    return detect(listing_of(named, executables))


def command(found: Detected) -> str:
    assert found.service is not None, found.missing
    return found.service.run[-1] if found.service.run[:2] == ("/bin/sh", "-c") else " ".join(found.service.run)


def test_a_flask_app_is_served_on_the_port_it_is_given() -> None:
    found = detected(app_DOT_py=FLASK, requirements_DOT_txt=b"flask\n")
    assert found.stack == "python, requirements.txt"
    assert command(found) == "exec env FLASK_APP=app:app flask run --host 0.0.0.0 --port $PORT"
    assert found.service is not None and found.service.port == 8000 and found.service.name == "web"


def test_a_flask_factory_in_a_package_is_found() -> None:
    found = detect(listing_of({"shop/__init__.py": b"def create_app():\n  pass\n", "requirements.txt": b"Flask>=2\n"}))
    assert "FLASK_APP=shop flask run" in command(found)


def test_gunicorn_serves_when_it_is_required() -> None:
    found = detected(wsgi_DOT_py=FLASK, requirements_DOT_txt=b"flask==3\ngunicorn==22 # server\n")
    assert command(found) == "exec gunicorn wsgi:app --bind 0.0.0.0:$PORT"


def test_fastapi_needs_a_server_and_the_one_line_says_which() -> None:
    project = b'[project]\nname="x"\ndependencies=["fastapi%s"]\n'
    found = detected(src__shop__main_DOT_py=FASTAPI, pyproject_DOT_toml=project % b"")
    assert found.missing == (
        "src/shop/main.py has the FastAPI application 'shop.main:api', but nothing serves it: add uvicorn to pyproject.toml"
    )
    served = detected(src__shop__main_DOT_py=FASTAPI, pyproject_DOT_toml=project % b"[standard]")
    assert command(served) == "exec uvicorn shop.main:api --host 0.0.0.0 --port $PORT"


def test_an_application_that_a_function_makes_is_found() -> None:
    made = b"from fastapi import FastAPI\ndef get_application() -> FastAPI:\n    return FastAPI()\napp = get_application()\n"
    found = detected(app__main_DOT_py=made, requirements_DOT_txt=b"fastapi\nuvicorn\n")
    assert command(found) == "exec uvicorn app.main:app --host 0.0.0.0 --port $PORT"


def test_several_commands_in_a_procfile_all_run() -> None:
    assert command(detected(Procfile=b"web: flask db upgrade; gunicorn a:b\n")) == "flask db upgrade; gunicorn a:b"
    assert command(detected(Procfile=b"web: DEBUG=1 serve\n")) == "DEBUG=1 serve"


def test_packages_for_development_beside_a_python_project_are_not_installed() -> None:
    found = detected(main_DOT_py=b"", package_DOT_json=b'{"devDependencies": {"prettier": "3"}}')
    assert found.node is None and found.stack == "python"


def test_uvicorn_in_the_lock_is_enough() -> None:
    found = detected(
        main_DOT_py=FASTAPI,
        pyproject_DOT_toml=b'[project]\nname="x"\ndependencies=["fastapi"]\n',
        uv_DOT_lock=b'[[package]]\nname = "uvicorn"\n',
    )
    assert found.stack == "python, uv" and "uvicorn main:api" in command(found)


def test_django_streamlit_and_gradio_are_known() -> None:
    assert "manage.py runserver 0.0.0.0:$PORT" in command(detected(manage_DOT_py=b"", requirements_DOT_txt=b"Django\n"))
    page = b"import streamlit as st\n"
    assert "streamlit run page.py --server.port $PORT" in command(
        detected(page_DOT_py=page, requirements_DOT_txt=b"streamlit\n")
    )
    assert "GRADIO_SERVER_PORT=$PORT python3 app.py" in command(
        detected(app_DOT_py=b"import gradio\n", requirements_DOT_txt=b"gradio\n")
    )


def test_programs_without_a_web_application_just_run() -> None:
    assert command(detected(main_DOT_py=b"print(1)")) == "python3 main.py"
    assert command(detect(listing_of({"kiwi/__main__.py": b"", "kiwi/__init__.py": b""}))) == "python3 -m kiwi"
    script = b'[project]\nname="x"\n[project.scripts]\nkiwi = "kiwi.cli:main"\n'
    assert command(detected(pyproject_DOT_toml=script, kiwi__cli_DOT_py=b"")) == "kiwi"
    assert command(detected(robot_DOT_py=b"import os; p = os.environ['PORT']")) == "python3 robot.py"


def test_several_scripts_ask_which_one() -> None:
    script = b'[project]\nname="x"\n[project.scripts]\na = "x:a"\nb = "x:b"\n'
    missing = detected(pyproject_DOT_toml=script, x_DOT_py=b"").missing
    assert missing is not None and "several scripts (a, b)" in missing and 'run: "a"' in missing


def test_tests_and_documents_are_not_what_is_run() -> None:
    found = detected(
        tests__app_DOT_py=FLASK, docs__main_DOT_py=b"", lib_DOT_py=b"x = 1", requirements_DOT_txt=b"flask\n"
    )
    assert found.service is None and found.missing is not None and "lekiwi.yaml" in found.missing


def test_a_procfile_and_a_program_named_run_come_first() -> None:
    assert command(detected(Procfile=b"worker: x\nweb: serve $PORT\n", app_DOT_py=FLASK)) == "exec serve $PORT"
    plain = detected(("run",), run=b"#!/bin/sh\n")
    assert (plain.stack, command(plain)) == ("plain", "./run")
    assert plain.service is not None and plain.service.port is None
    missing = detected(run=b"#!/bin/sh\n").missing
    assert missing is not None and "chmod=+x" in missing


def test_node_projects_run_their_start_script_or_their_server() -> None:
    found = detected(
        package_DOT_json=b'{"scripts": {"start": "node s.js"}, "dependencies": {"a": "1"}}', package_lock_DOT_json=b"{}"
    )
    assert (found.stack, command(found)) == ("node", "exec node s.js")
    assert found.node is not None and found.node.install == ("install", "--no-package-lock")
    assert command(detected(package_DOT_json=b"{}", server_DOT_js=b"")) == "node server.js"
    missing = detected(package_DOT_json=b"{}").missing
    assert missing is not None and '"start"' in missing


def test_a_folder_of_pages_is_served() -> None:
    found = detected(index_DOT_html=b"<p>")
    assert (found.stack, command(found)) == ("static", "exec python3 -m http.server $PORT")


@pytest.mark.parametrize("name", ["package.xml", "Cargo.toml", "go.mod", "CMakeLists.txt"])
def test_what_must_be_built_says_how_to_say_it(name: str) -> None:
    missing = detect(listing_of({name: b""})).missing
    assert missing is not None and "build: {run:" in missing and "services:" in missing and "\n" not in missing


def test_nothing_at_all_is_said_in_one_line() -> None:
    assert detect(listing_of({})).missing == "there are no files"
    assert "an executable file named `run`" in (detect(listing_of({"README": b""})).missing or "")


@pytest.mark.parametrize(
    "files", [{"pyproject.toml": b"[", "a.py": b""}, {"package.json": b"["}, {"package.json": b"[]"}]
)
def test_project_files_that_cannot_be_read_are_named(files: dict[str, bytes]) -> None:
    with pytest.raises(BadInput, match=r"pyproject\.toml|package\.json"):
        detect(listing_of(files))


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "app.py",
                "main.py",
                "requirements.txt",
                "package.json",
                "pyproject.toml",
                "run",
                "Procfile",
                "a/__main__.py",
            ]
        ),
        st.binary(max_size=60) | st.sampled_from([FLASK, FASTAPI, b"{}", b"flask", b"[project]\nname='x'\n"]),
    ),
    st.booleans(),
)
def test_every_project_is_detected_or_told_in_one_line_what_is_missing(
    files: dict[str, bytes], executable: bool
) -> None:
    try:
        found = detect(listing_of(files, ("run",) if executable else ()))
    except BadInput as error:
        assert "cannot be read" in error.message or "must hold" in error.message
        return
    assert (found.service is None) != (found.missing is None)
    assert found.missing is None or "\n" not in found.missing
