"""`lekiwi env pull`, `env push`: variables and `.env` files."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from lekiwi_deploy.cli import git
from lekiwi_deploy.cli.dotenv import Dotenv, file_text, line_for, read_dotenv, write_only_line
from lekiwi_deploy.cli.flags import Verb
from lekiwi_deploy.cli.run import Run
from lekiwi_deploy.cli.spans import ago, plural
from lekiwi_deploy.cli.variables import began_now, carry_out, flags_of, scope_of, whose
from lekiwi_deploy.errors import BadInput, Conflict, Failed
from lekiwi_deploy.wire.variables import ChangeVariables, SetVariable, Variables

MAX_FILE = 2_000_000
_STDOUT = "-"


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """What `env pull --json` prints. `write_only`: secrets, which stand as comments; `kept`: values of the file that the server does not give."""

    file: str
    environment: str
    written: tuple[str, ...]
    write_only: tuple[str, ...]
    kept: tuple[str, ...]
    revision: int
    schema: str = "lekiwi.variables-pulled/1"


@click.command("pull", cls=Verb, uses=("environment", "project", "robot"))
@click.argument("file", default=".env", metavar="[FILE]")
@click.option("--force", is_flag=True, help="Also over other values of config that the file has.")
@click.pass_obj
def pull(run: Run, file: str, force: bool) -> None:
    """Write what the environment (or, with -r, the robot) gets to FILE (.env; -: stdout), for you alone to read. Secrets are write-only: a
    comment stands for each, and a value that the file has for it already stays."""
    found = run.api.variables(
        run.project,
        {"environment": None if run.flags.robot else run.environment, "robot": run.flags.robot, "resolved": "true"},
    )
    there = _read(Path(file)) if file != _STDOUT and Path(file).exists() else Dotenv({})
    config = {one.name: one.value for one in found.variables if one.value is not None}
    other = sorted(name for name, value in config.items() if there.values.get(name, value) != value)
    if other and not force:
        raise Conflict(
            f"{file} has other values of {', '.join(other)} than the server",
            next=(f"lekiwi env pull {file} --force", f"lekiwi env push {file} --dry-run"),
        )
    text, kept, write_only = _composed(run, found, there)
    result = Pulled(
        file=file,
        environment=found.environment or "",
        written=tuple(config),
        write_only=write_only,
        kept=kept,
        revision=found.revision,
    )
    if file == _STDOUT:
        if run.out.json:
            run.out.object(result)
        else:
            run.out.raw(text)
        return
    _write(Path(file), text)
    run.out.object(result)
    run.out.line(
        f"{file}: {plural(len(config), 'value')} of {run.flags.robot or found.environment}, revision {found.revision}"
    )
    folder = Path(file).resolve().parent
    if git.top(folder) is not None and git.ask(folder, "check-ignore", "--quiet", "--", Path(file).name) is None:
        run.out.warn(f"git does not ignore {file}: add it to .gitignore, so that no commit takes it along")
    missing = [name for name in write_only if name not in kept]
    if missing:
        run.out.say(f"   write-only, as comments: {', '.join(missing)}")
    if kept:
        run.out.say(f"   kept as the file had them: {', '.join(kept)}")


@click.command("push", cls=Verb, uses=("environment", "project", "robot", "tags"))
@click.argument("file", metavar="FILE")
@click.option("--branch", metavar="BRANCH", help="Of deployments of this branch, or of a pattern: pr-*.")
@click.option(
    "--secret/--config", "secret", default=None, help="Write-only, or readable (else as they are, or by name)."
)
@click.option("--prune", is_flag=True, help="Remove names that the file does not have.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--apply", is_flag=True, help="Deploy what is live again with it, at once.")
@click.option("--reason", default="", help="Why; kept with it.")
@click.option("--yes", is_flag=True, help="Do not ask before --prune removes something.")
@click.pass_obj
def push(
    run: Run,
    file: str,
    branch: str | None,
    secret: bool | None,
    prune: bool,
    dry_run: bool,
    apply: bool,
    reason: str,
    yes: bool,
) -> int:
    """Set all variables of FILE, in .env syntax, and say what changed. Secrets that `env pull` left in it as comments stay as they are."""
    began = began_now()
    scope, of = scope_of(run, branch)
    read = _read(Path(file))
    change = ChangeVariables(
        scope=scope,
        of=of,
        set=tuple(SetVariable(name=name, value=value, secret=secret) for name, value in read.values.items()),
        replace=True,
        prune=prune,
        keep=tuple(sorted(read.write_only)),
        apply=apply,
        dry_run=dry_run,
        reason=reason,
    )
    if not change.set and not prune:
        raise BadInput(f"{file} sets nothing")
    if prune and not dry_run and not yes:
        gone = run.api.change_variables(run.project, msgspec.structs.replace(change, dry_run=True)).removed
        if gone:
            from lekiwi_deploy.cli.verbs.env import confirm

            confirm(
                f"Remove {', '.join(gone)} of {whose(scope, of)}?",
                f"lekiwi env push {file}{flags_of(scope, of)} --prune --yes",
            )
    return carry_out(run, change, began=began)


def _read(path: Path) -> Dotenv:
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadInput(f"{path} has more than {MAX_FILE // 1_000_000} MB: that is no .env file")
        return read_dotenv(path.read_bytes().decode(), str(path))
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from error


def _composed(run: Run, found: Variables, there: Dotenv) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The file's text, the names whose value it keeps, and the secrets."""
    lines: list[str] = []
    kept: list[str] = []
    write_only: list[str] = []
    names = {one.name for one in found.variables}
    for one in found.variables:
        if one.value is not None:
            lines.append(line_for(one.name, one.value))
            continue
        write_only.append(one.name)
        lines.append(
            write_only_line(
                one.name, f"{one.scope} {one.of}".strip() + f", set {ago(one.at, run.now())}, {one.fingerprint}"
            )
        )
        if one.name in there.values:
            kept.append(one.name)
            lines.append(line_for(one.name, there.values[one.name]))
    own = [name for name in there.values if name not in names]
    if own:
        lines += ["", "# Only here", *(line_for(name, there.values[name]) for name in own)]
    head = f"{found.environment} of {run.project}, revision {found.revision}"
    return file_text(head, lines), (*kept, *own), tuple(write_only)


def _write(path: Path, text: str) -> None:
    """For its owner alone, all or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise Failed(f"{path} cannot be written: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)
