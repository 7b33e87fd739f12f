"""A robot with systemd: a Debian of its own, booted in a container with a network of its own, whose plug can be pulled.

Differences from a robot: the kernel and its clock are this machine's (nothing in a machine may set the time), memory and processor limits
of units are not enforced where the host has cgroup v1, and there is no hardware.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from lekiwi_deploy.testing.machine_disk import Disk
from lekiwi_deploy.testing.machine_image import MachineImage
from lekiwi_deploy.testing.machine_leftovers import end_group, folder_of, forget, mounts_below, remove_folder, this_run
from lekiwi_deploy.testing.machine_needs import systemd_hierarchy, unified_hierarchy
from lekiwi_deploy.testing.machine_network import Lan
from lekiwi_deploy.testing.machine_ssh import make_host_key
from lekiwi_deploy.testing.machine_tools import MachineFailed, call, children, is_first, tried
from lekiwi_deploy.testing.programs import clean_environment
from lekiwi_deploy.testing.waiting import eventually

_IN_GROUPS = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'


class Machine:
    """Made on construction, not booted; `close` (or leaving `with`) ends it and leaves nothing.

    `name` becomes its host name; `lan`: the network it is on, where it gets `address`. What it writes goes to a layer above the image:
    to a folder, or to `disk` (`kind` and MiB), whose power `pull_the_plug` can cut.
    """

    def __init__(
        self,
        name: str,
        *,
        lan: Lan,
        image: MachineImage | None = None,
        disk: tuple[str, int] | None = None,
        binds: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.lan = lan
        self.image = image or MachineImage.base()
        self.folder = folder_of(f"{lan.namespace.rpartition('-')[2]}-{name}")
        self.label = f"{this_run()}-{self.folder.name}"
        self.address = lan.attach(self.label)
        self.disk = Disk(self.folder / "disk", kind=disk[0], mebibytes=disk[1]) if disk else None
        self.root = self.folder / "root"
        self.root.mkdir()
        self.binds = list(binds)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._mount()
        self._personalise()
        if self.disk is not None:
            self.disk.sync()

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether it is booted or booting."""
        return self._nspawn is not None and self._nspawn.poll() is None

    @property
    def console(self) -> str:
        """What it wrote to its console, over all boots."""
        return (self.folder / "console").read_text(errors="replace")

    @property
    def init(self) -> int:
        """Its first process, as this machine numbers it."""
        assert self.running, f"{self.name} is not running"
        return self._init

    def boot(self, *, wait: bool = True, within_s: float = 60.0) -> None:
        """Switch it on; `wait` until systemd has started everything. From the main thread only: a machine ends with the thread
        that booted it, so that a killed test leaves none running. Raises `MachineFailed`, `NeverHappened`."""
        assert not self.running, f"{self.name} runs already"
        assert threading.current_thread() is threading.main_thread(), "boot machines from the main thread"
        groups = [str(top / self.label) for top in (unified_hierarchy(), systemd_hierarchy()) if top is not None]
        for group in groups:
            Path(group).mkdir(exist_ok=True)
        nspawn = ["systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--boot"]
        nspawn += [f"--directory={self.root}", f"--machine={self.label}", f"--hostname={self.name}"]
        nspawn += ["--capability=CAP_NET_ADMIN", "--console=pipe", "--link-journal=no"]
        nspawn += ["--resolv-conf=off", "--timezone=off", f"--network-namespace-path=/run/netns/{self.label}"]
        nspawn += self.binds
        with (self.folder / "console").open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["sh", "-c", _IN_GROUPS, "sh", *groups, "--", "setpriv", "--pdeathsig", "KILL", *nspawn],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env=clean_environment(SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1"),
                start_new_session=True,
            )
        self._init = eventually(f"{self.name} has a first process", self._first_process, within_s=within_s)
        if wait:
            self.wait_booted(within_s=within_s)

    def wait_booted(self, within_s: float = 60.0) -> None:
        """Until systemd has started everything that belongs to a boot (some of it may have failed: see `systemctl --failed`)."""
        eventually(f"systemd runs on {self.name}", self._has_systemd, within_s=within_s)
        self.run("systemctl", "is-system-running", "--wait", check=False, within_s=within_s)

    def run(
        self,
        *argv: str,
        check: bool = True,
        user: str | None = None,
        stdin: str | None = None,
        within_s: float = 60.0,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on it and wait, as root or as `user`. Raises `MachineFailed` when `check` and its exit code is not 0."""
        done = subprocess.run(
            self.command(argv, user=user),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=within_s,
            check=False,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LANG": "C.UTF-8",
            },
        )
        if check and done.returncode != 0:
            raise MachineFailed(
                f"{self.name}: {' '.join(argv)} exited {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def command(self, argv: Sequence[str], *, user: str | None = None) -> list[str]:
        """The command line that runs `argv` on it, with the rights that its own root has (it may not set the clock, for one)."""
        drop = ",".join(f"-cap_{number}" for number in _lost_rights(self.init))
        person = ["runuser", "-u", user, "--"] if user is not None else []
        return ["setpriv", f"--bounding-set={drop}", "nsenter", "-t", str(self.init), "-a", *person, *argv]

    def path(self, name: str) -> Path:
        """A file of it, as this machine sees it: `name` is absolute there, and may lie in /run once it is booted."""
        top = Path(f"/proc/{self._init}/root") if self.running else self.root
        return top / name.lstrip("/")

    def write(self, name: str, text: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file of it, making folders."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)

    def read(self, name: str) -> str:
        """Read a file of it. Raises `OSError`."""
        return self.path(name).read_text()

    def journal(self, *arguments: str) -> str:
        """`journalctl ARGUMENTS` on it."""
        return self.run("journalctl", "--no-pager", "-q", *arguments).stdout

    def network_down(self) -> None:
        """Pull its network cable."""
        call("ip", "-n", self.label, "link", "set", "eth0", "down")

    def network_up(self) -> None:
        """Put it back."""
        call("ip", "-n", self.label, "link", "set", "eth0", "up")

    def pull_the_plug(self) -> None:
        """The power is gone: nothing is stopped in order; with a disk, all that was not flushed is lost, too."""
        if self.disk is not None:
            self.disk.cut()
        self._kill()
        if self.disk is not None:
            self._unmount()
            self.disk.boot()
            self._mount()

    def power_off(self, within_s: float = 30.0) -> None:
        """Shut it down in order."""
        assert self._nspawn is not None
        os.kill(self.init, signal.SIGRTMIN + 4)
        self._nspawn.wait(within_s)
        self._kill()

    def close(self) -> None:
        """End it, remove everything."""
        self._kill()
        self._unmount()
        if self.disk is not None:
            self.disk.close()
        forget(self.label)
        remove_folder(self.folder)

    def _mount(self) -> None:
        top = self.folder if self.disk is None else self.disk.mount
        for name in ("written", "work"):
            (top / name).mkdir(exist_ok=True)
        layers = f"lowerdir={self.image.tree},upperdir={top / 'written'},workdir={top / 'work'}"
        call("mount", "-t", "overlay", "-o", layers, "overlay", self.root)

    def _unmount(self) -> None:
        if self.root in mounts_below(self.folder):  # not ismount(): a cut disk answers nothing but errors
            eventually(f"nobody uses {self.root}", lambda: tried("umount", self.root), within_s=20)

    def _personalise(self) -> None:
        self.write("/etc/hostname", f"{self.name}\n")
        self.write("/etc/hosts", f"127.0.0.1 localhost {self.name}\n::1 localhost\n{self.lan.address} lekiwi.test\n")
        make_host_key(self.root)

    def _first_process(self) -> int:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise MachineFailed(f"{self.name} did not boot:\n{self.console[-2000:]}")
        return next((pid for pid in children(self._nspawn.pid) if is_first(pid)), 0)

    def _has_systemd(self) -> bool:
        self._first_process()
        return Path("/proc", str(self._init), "root", "run/systemd/private").exists()

    def _kill(self) -> None:
        if self._nspawn is not None and self._nspawn.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init or self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait(20)
        self._nspawn, self._init = None, 0
        end_group(self.label)


def _lost_rights(init: int) -> list[int]:
    """Numbers of the capabilities that this process may hold and the machine's root may not."""

    def bounds(pid: int | str) -> int:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("CapBnd:"):
                return int(line.split()[1], 16)
        raise AssertionError("the kernel tells no capabilities")

    lost = bounds("self") & ~bounds(init)
    return [number for number in range(lost.bit_length()) if lost >> number & 1]
