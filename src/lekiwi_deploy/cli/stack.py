"""A first lekiwi.yaml out of what lies in a folder. Pure; the server detects the rest, and better, when it builds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Stack:
    """`name` as people say it; `run` a guess at the program; `port` whether it may be a web service; `test` a command."""

    name: str
    run: str
    port: bool
    test: str


def guess(names: Collection[str]) -> Stack:
    """The stack of a folder with these names in it (folders end with a slash)."""
    test = "pytest -q" if "tests/" in names or "test/" in names else ""
    scripts = [name for name in ("main.py", "app.py", "server.py", "run.py", "robot.py", "bot.py") if name in names]
    python = f"python3 {scripts[0]}" if scripts else "python3 -m your_package"
    web = bool(scripts) and scripts[0] in ("app.py", "server.py")
    if "run" in names:
        return Stack("a program named run", "./run", False, test)
    if "manage.py" in names:
        return Stack("Django", "python3 manage.py runserver 0.0.0.0:$PORT --noreload", True, "python3 manage.py test")
    if "package.json" in names and "pyproject.toml" not in names and "requirements.txt" not in names:
        return Stack("Node.js", "npm start", True, "npm test")
    if "uv.lock" in names:
        return Stack("Python, uv", python, web, test)
    if "pyproject.toml" in names:
        return Stack("Python, pyproject.toml", python, web, test)
    if "requirements.txt" in names:
        return Stack("Python, requirements.txt", python, web, test)
    if "package.xml" in names:
        return Stack("a ROS 2 package", "ros2 run your_package your_node", False, "colcon test")
    if "index.html" in names:
        return Stack("static pages", "python3 -m http.server $PORT", True, "")
    if any(name.endswith(".py") for name in names):
        return Stack("Python", python, web, test)
    return Stack("unknown", "./run", False, test)


def project_file(stack: Stack, schema: str = "") -> str:
    """The text of a lekiwi.yaml for it. All of it is commented: without a word in it the server detects by itself. `schema`: a first
    line, by which editors find what may be written."""
    test = stack.test or "./test.sh"
    service = [
        f"#   {'web' if stack.port else 'main'}:",
        f"#     run: {stack.run}",
        *(["#     port: 8000                    # $PORT is it; the switch is without a gap"] if stack.port else []),
        *(
            ["#     health: [{http: /health}]     # or {tcp: true}, {command: ...}, {process: true}"]
            if stack.port
            else []
        ),
        *(
            []
            if stack.port
            else ["#     health: [{process: true}]       # or {http: /health}, {tcp: true}, {command: ...}"]
        ),
        "#     # exclusive: motors             # hardware that only one process may own",
        "#     # files: [src/**]               # what it is made of: restarted only when that changes",
        "#     # env: [API_KEY]                # names of the robot's variables that it may read",
        "#     # needs: {devices: [/dev/ttyUSB*], memory: 300MB}   # what it may use beyond the sandbox",
        "#     # hooks: {prepare: ./migrate}    # also before_stop, after_start, on_rollback",
    ]
    return "\n".join(
        [
            *([schema] if schema else []),
            f"# lekiwi.yaml: what LeKiwi Deploy should know of this project. Found here: {stack.name}.",
            "# Everything is optional: what is not said is detected when it is built. Take away a `#` to say it.",
            "",
            '# build: {run: "make"}               # runs before the tests, in the root of the project',
            f'# test: {{run: "{test}", timeout: 10m}}   # a push whose test fails is refused',
            "",
            "# services:                          # the programs that run on every robot",
            *service,
            "",
            "# conditions: {disk_free: 500MB}     # what must hold on a robot before it switches",
            "",
            "# production:                        # an environment: which branch, and how carefully",
            "#   branch: main",
            "#   auto_deploy: true",
            "#   health_checks: normal            # strict, normal or minimal",
            "#   rollback_on_error: true",
            "",
        ]
    )
