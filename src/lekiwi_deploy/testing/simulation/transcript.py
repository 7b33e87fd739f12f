"""The story of a scripted fleet as text: what each robot did, when, and why; what people were told; what holds robots back."""

from __future__ import annotations

from datetime import timedelta

from lekiwi_deploy.testing.simulation.world import PROJECT, World
from lekiwi_deploy.wire.progress import Note, Progress, RobotMoved, RolloutFinished, RolloutStarted, RolloutWaits
from lekiwi_deploy.wire.reasons import sentence


class Transcript:
    """Of `world` from now on, line by line as it happens. Times are since the start."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lines: list[str] = []
        tables = world.server.tables
        self._seen = {stream: len(rows) for stream, rows in tables.progress.items()}
        world.told = self.line
        world.server.stepped = self._steps

    def line(self, who: str, text: str) -> None:
        """One line, now."""
        at = str(timedelta(seconds=int(self._world.agenda.elapsed)))
        self._lines.append(f"{at:>16}  {who:<10} {self._plain(text)}")

    def heading(self, text: str) -> None:
        """What happens next, in words."""
        self._lines.append("" if not self._lines else "\n")
        self._lines[-1] += f"# {text}"

    def why(self, environment: str) -> None:
        """Where every robot of an environment stands, and what holds it back."""
        tables = self._world.server.tables
        self._told()
        row = tables.environments[PROJECT, environment]
        if row.live_rollout is None:
            self.line("why", f"nothing is live in {environment}")
            return
        course = tables.rollouts[row.live_rollout].course
        for name, one in sorted(tables.asked[row.live_rollout].items()):
            report = tables.robots[name].report
            runs = report.running.deployment if report is not None and report.running is not None else "nothing"
            waiting = one.waiting
            if not waiting and one.generation is None and course.later is not None and one.status == "pending":
                waiting = (course.later,)
            reasons = f": {'; '.join(map(sentence, waiting))}" if waiting else ""
            self.line("why", f"{name} runs {runs}, {one.status}{reasons}")

    def text(self) -> str:
        """All of it."""
        self._told()
        return "\n".join(self._lines) + "\n"

    def _steps(self) -> None:
        self._told()

    def _told(self) -> None:
        for stream, rows in list(self._world.server.tables.progress.items()):
            for row in rows[self._seen.get(stream, 0) :]:
                self._progress(row)
            self._seen[stream] = len(rows)

    def _progress(self, row: Progress) -> None:
        match row.body:
            case RolloutStarted(rollout=rollout, version=version, environment=environment, total=total):
                self.line("server", f"{rollout} begins: {version} to {total} robots of {environment}")
            case RolloutWaits() as waits:
                self.line("server", f"{row.stream} step {waits.at} of {waits.of}: {waits.text}")
            case RolloutFinished() as end:
                counts = f"{end.live} live, {end.pending} pending, {end.failed} failed of {end.total}"
                self.line("server", f"{row.stream} is {end.status}: {counts}" + (f". {end.text}" if end.text else ""))
            case Note(text=text):
                self.line("server", f"{row.stream}: {text}")
            case RobotMoved(robot=robot, status=status) if status in ("rolled_back", "failed", "held"):
                self.line("server", f"{row.stream}: {robot} is {status}")
            case _:
                pass

    def _plain(self, text: str) -> str:
        for number, id in enumerate(self._world.server.tables.rollouts, 1):
            text = text.replace(id, f"rollout {number}")
        for id_, release in self._world.releases.items():
            text = text.replace(f"{id_} {release.version}", release.version).replace(id_, release.version)
        return text
