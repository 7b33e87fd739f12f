"""Somebody at a keyboard: runs `lekiwi` and `git` with a home, a token and nothing else of this machine's configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.programs import HERE, Installation, clean_environment

T = TypeVar("T")

_CREDENTIALS = '!f() { test "$1" = get && echo username=lekiwi && echo "password=$LEKIWI_TOKEN"; }; f'


@dataclass(frozen=True)
class Ran:
    """How a command ended. `began_at`: seconds since the epoch."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str
    began_at: float
    seconds: float

    def ok(self) -> Ran:
        """Itself. Raises `AssertionError` with all that was said when the exit code was not 0."""
        return self.exited(0)

    def exited(self, code: int) -> Ran:
        """Itself, if it exited with `code`."""
        assert self.code == code, f"{' '.join(self.argv)} exited {self.code}, not {code}\n{self.out}\n{self.err}"
        return self

    def json(self, kind: type[T] | Any = object) -> T:
        """Its output as one JSON value of that type."""
        value: T = msgspec.json.decode(self.out, type=kind)
        return value

    @property
    def said(self) -> str:
        """Output and errors together."""
        return self.out + self.err


class Person:
    """Works in `home` against the server at `api` with `token`. `lan`: sits in the server's side of that network."""

    def __init__(self, home: Path, api: str, token: str, *, at: Installation = HERE, lan: Lan | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.lan = lan
        self.home = home
        self.at = at
        self.environment = clean_environment(
            HOME=str(home),
            XDG_CONFIG_HOME=str(home / ".config"),
            LEKIWI_API=api,
            LEKIWI_TOKEN=token,
            GIT_CONFIG_NOSYSTEM="1",
            GIT_TERMINAL_PROMPT="0",
            GIT_AUTHOR_NAME="Anna",
            GIT_AUTHOR_EMAIL="anna@example.org",
            GIT_COMMITTER_NAME="Anna",
            GIT_COMMITTER_EMAIL="anna@example.org",
            GIT_CONFIG_COUNT="2",
            GIT_CONFIG_KEY_0="credential.helper",
            GIT_CONFIG_VALUE_0=_CREDENTIALS,
            GIT_CONFIG_KEY_1="init.defaultBranch",
            GIT_CONFIG_VALUE_1="main",
        )

    def run(
        self,
        *argv: str,
        folder: Path | None = None,
        within_s: float = 120.0,
        stdin: str | None = None,
        live: bool = False,
    ) -> Ran:
        """Run a program and wait for it. `live`: what it writes to stderr is also shown on ours, as it comes."""
        began_at, began = time.time(), time.perf_counter()
        process = subprocess.Popen(
            self._where(argv),
            cwd=folder or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if live else subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = process.communicate(stdin, timeout=within_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # git's children, too: they hold our pipes open
            process.communicate()
            raise
        return Ran(argv, process.returncode, out, err or "", began_at, time.perf_counter() - began)

    def start(self, *argv: str, folder: Path | None = None) -> subprocess.Popen[str]:
        """Start a program that is to be watched or interrupted; the caller ends it."""
        return subprocess.Popen(
            self._where(argv),
            cwd=folder or self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def _where(self, argv: Sequence[str]) -> list[str]:
        return list(argv) if self.lan is None else self.lan.command(argv)

    def lekiwi(
        self, *arguments: str, folder: Path | None = None, within_s: float = 120.0, stdin: str | None = None
    ) -> Ran:
        """`lekiwi ARGUMENTS`"""
        return self.run(self.at.lekiwi, *arguments, folder=folder, within_s=within_s, stdin=stdin)

    def git(self, *arguments: str, folder: Path, within_s: float = 120.0, live: bool = False) -> Ran:
        """`git ARGUMENTS`"""
        return self.run("git", *arguments, folder=folder, within_s=within_s, live=live)

    def repository(self, folder: Path, files: dict[str, str], *, message: str = "First") -> Repository:
        """A new git repository in `folder` with `files` (path to text; one that starts with #! is executable) committed."""
        folder.mkdir(parents=True, exist_ok=True)
        repository = Repository(self, folder)
        self.git("init", "-q", folder=folder).ok()
        repository.commit(message, files)
        return repository


@dataclass(frozen=True)
class Repository:
    """A person's checkout."""

    person: Person
    folder: Path

    def git(self, *arguments: str, within_s: float = 120.0) -> Ran:
        """`git ARGUMENTS` in it."""
        return self.person.git(*arguments, folder=self.folder, within_s=within_s)

    def lekiwi(self, *arguments: str, within_s: float = 120.0) -> Ran:
        """`lekiwi ARGUMENTS` in it."""
        return self.person.lekiwi(*arguments, folder=self.folder, within_s=within_s)

    def write(self, files: dict[str, str]) -> None:
        """Write `files` (path to text; one that starts with #! is executable)."""
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            if text.startswith("#!"):
                target.chmod(0o755)

    def commit(self, message: str, files: dict[str, str] | None = None) -> str:
        """Write `files`, commit everything, give the commit's id."""
        self.write(files or {})
        self.git("add", "-A").ok()
        self.git("commit", "-q", "--allow-empty", "-m", message).ok()
        return self.git("rev-parse", "HEAD").ok().out.strip()

    def push(self, project: str, ref: str = "main", *options: str, within_s: float = 180.0) -> Ran:
        """`git push` of `ref` to the project on the person's server."""
        url = f"{self.person.environment['LEKIWI_API']}/git/{project}.git"
        return self.git("push", *options, url, ref, within_s=within_s)


def show(text: str) -> None:
    """A line for whoever watches, on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
