"""A file system in a file, that can lose all that was not flushed, refuse writes, or be full."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

from lekiwi_deploy.testing.machine_tools import call, share, tried
from lekiwi_deploy.testing.waiting import eventually

KINDS = {"ext4": 32, "xfs": 320}
"""File systems, and the fewest MiB that each can be made in."""
_SHUTDOWN = 0x8004587D
"""EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN; its argument 2: write nothing more, not even the journal."""


class Disk:
    """A disk of `mebibytes` with a file system of `kind` (or, with `like`, a copy of what is on the unmounted disk in that file), mounted on
    `folder`/mount. Needs root and a loop device.

    A loop device hides nothing and flushes when it is told to: a memory card that lies about flushing cannot be tried with it.
    """

    def __init__(
        self, folder: Path, *, kind: str = "ext4", mebibytes: int | None = None, like: Path | None = None
    ) -> None:
        self.kind = kind
        self.image, self.mount = folder / f"{kind}.image", folder / "mount"
        self.mount.mkdir(parents=True)
        share(folder)
        self._folder = folder
        if like is not None:
            call("cp", "--sparse=always", "--reflink=auto", like, self.image)
        else:
            with self.image.open("wb") as file:
                file.truncate((mebibytes or KINDS[kind]) << 20)
            options = ("-F", "-m", "0", "-E", "lazy_itable_init=0,nodiscard") if kind == "ext4" else ()
            call(f"mkfs.{kind}", "-q", *options, self.image)
        self.attach()

    def attach(self) -> None:
        """Mount it; a log that a power cut left is replayed."""
        options = (
            "loop,errors=remount-ro" if self.kind == "ext4" else "loop,nouuid"
        )  # copies of one disk may be mounted at once
        call("mount", "-t", self.kind, "-o", options, self.image, self.mount)

    def cut(self) -> None:
        """The power is gone: from now on nothing reaches it, and every call to it fails with EIO."""
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", 2))
        finally:
            os.close(fd)

    def sync(self) -> None:
        """Flush all that was written."""
        call("sync", "-f", self.mount)

    def detach(self, within_s: float = 20.0) -> None:
        """Unmount it, once nobody uses it any more. Raises `NeverHappened`."""
        eventually(f"nobody uses {self.mount}", lambda: tried("umount", self.mount), within_s=within_s)

    def boot(self) -> None:
        """As after a reboot: what was flushed is there."""
        self.detach()
        self.attach()

    def fail(self) -> None:
        """The file system finds an error and makes itself read-only, as a dying memory card does (ext4): writes fail with EROFS."""
        device = call("findmnt", "-n", "-o", "SOURCE", self.mount).strip()
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("a test")

    def free_bytes(self) -> int:
        """What an ordinary user could still write."""
        room = os.statvfs(self.mount)
        return room.f_bavail * room.f_frsize

    def fill(self, *, but_bytes: int = 0) -> Path:
        """Take all room but `but_bytes` with one file; remove it to give the room back."""
        hog = self.mount / "hog"
        with hog.open("wb") as file:
            size = 0
            for step in (1 << 20, 1 << 16, 1 << 12):
                with contextlib.suppress(OSError):  # until there is no more
                    while True:
                        os.posix_fallocate(file.fileno(), size, step)
                        size += step
            file.truncate(max(0, size - but_bytes))
            os.fsync(file.fileno())
        return hog

    def close(self) -> None:
        """Unmount it, by force if need be."""
        for mount in (self.mount, self._folder):
            if not tried("umount", mount):
                tried("umount", "-l", mount)
