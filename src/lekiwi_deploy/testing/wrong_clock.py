"""A wall clock that is wrong for one process, and can be put right while it runs."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long long offset(void) {
    char text[32] = {0};
    int fd = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    long long found = read(fd, text, sizeof text - 1) > 0 ? atoll(text) : 0;
    close(fd);
    return found;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, now);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return done;
}
time_t time(time_t *now) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = found.tv_sec;
    return found.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    if (now) *now = (struct timeval){found.tv_sec, found.tv_nsec / 1000};
    return 0;
}
"""


class WrongClock:
    """A library below `folder` that is loaded before libc: the wall clock of a process with `variables` is off by what `set` said. Timers
    and the clock since boot are right, as they are on a robot whose date is wrong. Needs a C compiler (`cc`)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._offset = folder / "offset"
        self.library = folder / "wrong_clock.so"
        self.set(0)
        source = folder / "wrong_clock.c"
        source.write_text(_SOURCE)
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-o", str(self.library), str(source), "-ldl"],
            check=True,
            capture_output=True,
            text=True,
        )

    def set(self, seconds: int) -> None:
        """Off by that from now on."""
        self._offset.write_text(f"{seconds:<24}")

    @property
    def variables(self) -> dict[str, str]:
        """What such a process is started with."""
        return {"LD_PRELOAD": str(self.library), "CLOCK_OFFSET": str(self._offset)}
