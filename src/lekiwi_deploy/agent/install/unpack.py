"""Turns a bundle into a virtual environment of the agent, with nothing but Python's standard library.

This file is a bundle's `__main__.py`: it runs on machines that have no agent yet, so it imports nothing of this package. What it
makes, `/opt/lekiwi/agent/<release>/`, is complete and on disk or not there at all; which release is in use is decided later, by
`lekiwi-agent install`, which it hands over to.
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import csv
import ctypes
import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

AGENTS = "opt/lekiwi/agent"
LOCK = "lock.txt"
OLDEST_PYTHON = (3, 11)
NEEDED_SPACE = 120_000_000
"""Bytes: the environment, its byte code, and the same again while it is replaced."""
_SCRIPT = """#!{python}
import sys
from {module} import {function}
if __name__ == "__main__":
    sys.exit({call}())
"""


class Refused(Exception):
    """The bundle or the machine will not do; the text says why and what to do."""


def release_name(bundle: zipfile.ZipFile) -> str:
    """`0.1.0-ab12cd34`: the version of our wheel and the beginning of the lock's SHA-256."""
    ours = [
        re.fullmatch(r"wheels/lekiwi_deploy-([0-9A-Za-z.+!]+)-py3-none-any\.whl", name) for name in bundle.namelist()
    ]
    versions = [found[1] for found in ours if found]
    if len(versions) != 1 or LOCK not in bundle.namelist():
        raise Refused("this is no bundle of lekiwi-agent, or only a part of one: fetch it again")
    return f"{versions[0]}-{hashlib.sha256(bundle.read(LOCK)).hexdigest()[:8]}"


def check(bundle: zipfile.ZipFile, lock: str | None = None) -> None:
    """Raises `Refused` unless every file of the bundle is listed in its lock, and the lock's SHA-256 is `lock` (None: any)."""
    release_name(bundle)
    text = bundle.read(LOCK)
    if lock is not None and hashlib.sha256(text).hexdigest() != lock:
        raise Refused(
            "the server has another agent than the one that was pinned when the line was made: ask for a new line "
            "(lekiwi robots rejoin NAME), and do not go on if that does not help"
        )
    listed = {line.partition("  ")[0] for line in text.decode().splitlines()}
    for name in bundle.namelist():
        if name != LOCK and hashlib.sha256(bundle.read(name)).hexdigest() not in listed:
            raise Refused(
                f"{name} in the bundle is not what the server's list says: it was damaged or changed on the way"
            )


def unpack(bundle: Path, root: Path, *, lock: str | None = None, say: Callable[[str], None] = lambda _: None) -> Path:
    """Make the environment of the release in `bundle` below `root`; the folder that holds it. There already and undamaged: nothing
    is done. Raises `Refused`, or `OSError` when the disk will not take it; what was there before is untouched then."""
    if sys.version_info < OLDEST_PYTHON:
        raise Refused(f"the agent needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}")
    with _opened(bundle) as archive:
        check(archive, lock)
        agents = root / AGENTS
        agents.mkdir(parents=True, exist_ok=True)
        home = agents / release_name(archive)
        with _only_one(agents):
            for left in agents.glob(".tmp-*"):
                shutil.rmtree(left)
            if home.is_dir() and not damaged(home):
                say(f"{home} is there already, undamaged")
                return home
            _check_space(agents)
            made = agents / f".tmp-{home.name}"
            say(f"unpacking {home.name} with Python {sys.version.split()[0]}")
            _make_environment(archive, made, home)
            _sync(made)
            if home.exists() and not _exchange(made, home):
                home.rename(agents / f".tmp-damaged-{home.name}")
                made.rename(home)
            elif made.exists() and not home.exists():
                made.rename(home)
            _sync(agents)
            for left in agents.glob(".tmp-*"):
                shutil.rmtree(left)
            return home


def _opened(bundle: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(bundle)
    except zipfile.BadZipFile:
        raise Refused(f"{bundle} is no bundle of lekiwi-agent, or only a part of one: fetch it again") from None


def damaged(home: Path) -> str:
    """What is wrong with an unpacked environment, in one line; "" when all of its files are as they were unpacked."""
    site = site_packages(home)
    if not (home / "bin/python").exists():
        return f"{home}/bin/python leads to no Python: was the system's Python replaced?"
    records = sorted(site.glob("*.dist-info/RECORD")) if site.is_dir() else []
    if not any(record.parent.name.startswith("lekiwi_deploy-") for record in records):
        return f"{home} holds no agent for Python {sys.version_info[0]}.{sys.version_info[1]}"
    for record in records:
        for name, digest, _ in csv.reader(record.read_text().splitlines()):
            path = site / name
            if digest and (not path.is_file() or _record_hash(path.read_bytes()) != digest):
                return f"{path} is missing or was changed"
    return ""


def site_packages(home: Path) -> Path:
    """Where the environment's packages are, for the Python that asks."""
    return home / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def _make_environment(archive: zipfile.ZipFile, made: Path, home: Path) -> None:
    """The environment in the folder `made`, for use at `home`."""
    import venv

    venv.EnvBuilder(symlinks=True, with_pip=False).create(made)
    for script in (made / "bin").glob("[Aa]ctivate*"):
        script.unlink()  # they would name the folder it was made in
    settings = made / "pyvenv.cfg"
    settings.write_text(
        "".join(line for line in settings.read_text().splitlines(True) if not line.startswith("command"))
    )
    site = site_packages(made)
    for name in sorted(archive.namelist()):
        if name.startswith("wheels/"):
            with zipfile.ZipFile(io.BytesIO(archive.read(name))) as wheel:
                _install_wheel(wheel, name.removeprefix("wheels/"), made, site, home / "bin/python")
    (made / LOCK).write_bytes(archive.read(LOCK))
    python, inside = str(made / "bin/python"), str(made)
    compile_all = [python, "-I", "-m", "compileall", "-q", "-j", "0", "-s", inside, "-p", str(home), str(site)]
    subprocess.run(compile_all, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def _install_wheel(wheel: zipfile.ZipFile, name: str, made: Path, site: Path, python: Path) -> None:
    info = next((n.split("/")[0] for n in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/WHEEL", n)), None)
    if info is None or not re.search(r"^Wheel-Version: 1\.", wheel.read(f"{info}/WHEEL").decode(), re.M):
        raise Refused(f"{name} is no wheel of a kind that is known here")
    expected = {row[0]: row[1] for row in csv.reader(wheel.read(f"{info}/RECORD").decode().splitlines()) if row}
    data = f"{info.removesuffix('.dist-info')}.data/"
    rows = []
    for member in wheel.infolist():
        if member.is_dir() or member.filename in (f"{info}/RECORD", f"{info}/RECORD.jws", f"{info}/RECORD.p7s"):
            continue
        content = wheel.read(member)
        if expected.get(member.filename) not in ("", _record_hash(content)):
            raise Refused(f"{member.filename} in {name} does not match the wheel's own list")
        target = _place(member.filename, data, made, site)
        if target is None:
            continue
        script = target.parent == made / "bin"
        if script and content.startswith(b"#!python"):
            content = f"#!{python}".encode() + content[content.index(b"\n") :]
        mode = 0o755 if script or member.external_attr >> 16 & 0o111 else 0o644
        rows.append(_write(target, content, mode, site))
    for script_name, text in _entry_points(wheel, info, python):
        rows.append(_write(made / "bin" / script_name, text.encode(), 0o755, site))
    rows.append(_write(site / info / "INSTALLER", b"lekiwi\n", 0o644, site))
    record = io.StringIO()
    csv.writer(record, lineterminator="\n").writerows([*rows, (f"{info}/RECORD", "", "")])
    (site / info / "RECORD").write_text(record.getvalue())


def _place(name: str, data: str, made: Path, site: Path) -> Path | None:
    """Where a wheel's member goes; None: nowhere (headers). Raises `Refused` for a name that leads out."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in name or not parts:
        raise Refused(f"{name!r} in a wheel leads out of the environment")
    if not name.startswith(data):
        return site.joinpath(*parts)
    scheme, rest = parts[1], parts[2:]
    below = {"purelib": site, "platlib": site, "scripts": made / "bin", "data": made}.get(scheme)
    return below.joinpath(*rest) if below is not None and rest else None


def _entry_points(wheel: zipfile.ZipFile, info: str, python: Path) -> Iterator[tuple[str, str]]:
    """Name and text of every console script."""
    if f"{info}/entry_points.txt" not in wheel.namelist():
        return
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # names are case-sensitive
    parser.read_string(wheel.read(f"{info}/entry_points.txt").decode())
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            found = re.fullmatch(r"([\w.]+)\s*:\s*([\w.]+)\s*(?:\[.*\])?", value)
            if found is None or not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
                raise Refused(f"the script {name!r} of {info} is not declared properly")
            function = found[2].split(".")[0]
            yield name, _SCRIPT.format(python=python, module=found[1], function=function, call=found[2])


def _write(target: Path, content: bytes, mode: int, site: Path) -> tuple[str, str, str]:
    """Its row of RECORD."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.write_bytes(content)
    target.chmod(mode)
    return os.path.relpath(target, site), _record_hash(content), str(len(content))


def _record_hash(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < NEEDED_SPACE:
        raise Refused(
            f"{folder} has {free // 1_000_000} MB free, and the agent needs {NEEDED_SPACE // 1_000_000} MB: make room first"
        )


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Of two installations at once, the second one waits."""
    fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _sync(path: Path) -> None:
    """Everything on the file system of `path` that was written is on disk. Raises `OSError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
    finally:
        os.close(fd)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the file system cannot."""
    at_cwd, exchange = -100, 2
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return renameat2 is not None and renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), exchange) == 0


def main(arguments: list[str]) -> int:
    """`python3 BUNDLE [--root DIR] …`: unpack, then `lekiwi-agent install …` of what was unpacked."""
    os.umask(0o022)  # the agent's other half, which is not root, reads these files
    root = Path(arguments[arguments.index("--root") + 1]) if "--root" in arguments[:-1] else Path("/")
    try:
        home = unpack(Path(sys.argv[0]), root.resolve(), say=_say)
    except Refused as error:
        _say(f"error: {error}")
        return 1
    except OSError as error:
        _say(f"error: the agent could not be unpacked, and nothing was changed: {error}")
        return 1
    program = str(home / "bin/lekiwi-agent")
    sys.stdout.flush()
    os.execv(program, [program, "install", "--release", home.name, *arguments])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
