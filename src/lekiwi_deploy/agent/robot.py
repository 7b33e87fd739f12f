"""What one agent process knows and holds: the ledger, the slots, the services, the download. It decides nothing: `reconcile.py` asks
`robot/` what to do, `carry_out.py` does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from lekiwi_deploy.agent import machine
from lekiwi_deploy.agent.byte_code import compile_slot, is_wanted
from lekiwi_deploy.agent.config import AgentConfig
from lekiwi_deploy.agent.consent import Consent
from lekiwi_deploy.agent.download import Downloads, Job, NoRoom, TicketExpired
from lekiwi_deploy.agent.failpoints import fp
from lekiwi_deploy.agent.fetching import Fetches
from lekiwi_deploy.agent.history import History
from lekiwi_deploy.agent.journal import Journal
from lekiwi_deploy.agent.output import choose_output
from lekiwi_deploy.agent.paths import Paths
from lekiwi_deploy.agent.plan import Plan, make_plan
from lekiwi_deploy.agent.services import Services
from lekiwi_deploy.agent.slots import Slots
from lekiwi_deploy.agent.spool import Spool
from lekiwi_deploy.agent.variables.keeping import Variables
from lekiwi_deploy.agent.variables.masking import Mask
from lekiwi_deploy.agent.window import closed
from lekiwi_deploy.errors import BadInput, LekiwiError, NotFound
from lekiwi_deploy.robot.ledger import Ledger
from lekiwi_deploy.robot.record import fetch_failed, hook_ran, staged
from lekiwi_deploy.robot.wanted import accept, by_hand_here, forced
from lekiwi_deploy.wire.ids import DeploymentId, ManifestDigest
from lekiwi_deploy.wire.link import AgentState, Desired
from lekiwi_deploy.wire.manifest import HookKind
from lekiwi_deploy.wire.platforms import Platform
from lekiwi_deploy.wire.reasons import Reason, VariablesSealed, sentence

EVENT_BYTES = 8 << 20
LOG_BYTES = 32 << 20


class Robot:
    """One per process, under agent.lock. Events are set for those who wait: `nudged` for the reconcile loop; `report_due`,
    `records_due` and `ticket_due` for the link."""

    def __init__(
        self,
        paths: Paths,
        config: AgentConfig,
        platform: Platform,
        ledger: Ledger,
        journal: Journal,
        slots: Slots,
        *,
        randomness: Callable[[], float],
    ) -> None:
        self.paths = paths
        self.config = config
        self.platform = platform
        self.ledger = ledger
        self.slots = slots
        self.randomness = randomness
        self.nudged = asyncio.Event()
        self.report_due = asyncio.Event()
        self.records_due = asyncio.Event()
        self.ticket_due = asyncio.Event()
        self.tickets_due: set[ManifestDigest] = set()
        self.waiting: tuple[Reason, ...] = ()
        self.content_lock = asyncio.Lock()
        self.collect_due = False
        self._journal = journal
        self._dirty = False
        self.stored = (ledger.epoch, ledger.generation)
        """Of the ledger on disk: what may be reported as seen."""
        self.disk_trouble: str | None = None
        """Why the ledger could not be written the last time."""
        self._turn: asyncio.Future[None] | None = None
        self._desired_at: dict[DeploymentId, float] = {}
        self.events = Spool(paths.spool / "events", limit=EVENT_BYTES, durable=True)
        self.logs = Spool(
            paths.spool / "logs",
            limit=LOG_BYTES,
            durable=False,
            droppable=lambda record: b'"level":"debug"' in record,
        )
        self.mask = Mask()
        self.variables = Variables(paths, self.mask)
        self.history = History(self.events, self.logs, appended=self.records_due.set, hide=self.mask.text)
        self.tail = choose_output(
            paths, self.logs, appended=self.records_due.set, trouble=self.history.trouble, mask=self.mask
        )
        self.services = Services(
            paths,
            self.tail,
            self.logs,
            replan=self.plan_again,
            plan_of=self.plan_of,
            whole=self.slots.laid_out.__contains__,
            hook_ran=self._hook_ran,
            nudge=self.nudge,
            note=self._note_of_service,
            randomness=randomness,
        )
        self.fetches = Fetches(
            Downloads(slots, paths.downloads, platform),
            prepare=lambda job: self.prepare(job.ref.id),
            finished=self._fetched,
            progressed=self.report_due.set,
            randomness=randomness,
        )

        self.consent = Consent(
            paths,
            longest_s=config.longest_hold_s,
            note=self.history.note,
            wake=self.nudge,
            switching=lambda: self.switching,
        )
        self.agent_state: AgentState | None = None
        self._boots: object = None
        self._not_kept: str | None = None
        self._overridden: tuple[DeploymentId, int] | None = None
        self._repair_ticket: tuple[ManifestDigest, str] | None = None

    async def held_off(self, deployment: DeploymentId) -> tuple[Reason, ...]:
        """Why not to switch to `deployment`, which is here, now: holds and unmet conditions, unless a person wants it all the same."""
        if by_hand_here(self.ledger):
            return ()
        made = self.ledger.slots[deployment].ref.created_at
        desired = self.ledger.desired
        shut = closed(desired.policy.window if desired is not None else None, machine.utc_now(), self.paths.root)
        reasons = await self.consent.held_off(self.slots.manifest(deployment).conditions, made, shut)
        if not reasons or not forced(self.ledger):
            return reasons
        if self._overridden != (deployment, self.ledger.generation):
            self._overridden = (deployment, self.ledger.generation)
            why = "; ".join(map(sentence, reasons))
            self.history.note("overridden", f"{deployment} is switched to by force, although: {why}", deployment)
        return ()

    @property
    def switching(self) -> bool:
        """Whether processes are being changed over."""
        return self.services.changing()

    def nudge(self) -> None:
        """Look again soon."""
        self.nudged.set()

    def next_turn(self) -> asyncio.Future[None]:
        """Done when the reconcile loop has looked once more."""
        if self._turn is None or self._turn.done():
            self._turn = asyncio.get_running_loop().create_future()
        return self._turn

    def turned(self) -> None:
        """The reconcile loop has looked."""
        self.report_due.set()
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def remember(self, ledger: Ledger) -> None:
        """The ledger is this from now on; on disk when this returns. Raises `OSError`; then nothing has changed."""
        try:
            self._journal.save(ledger)
        except OSError as error:
            self.disk_trouble = error.strerror or str(error)
            raise
        self.ledger = ledger
        self.stored = (ledger.epoch, ledger.generation)
        self.disk_trouble = None
        self._dirty = False

    def flush(self) -> None:
        """Put on disk what was accepted and nothing was done about yet. Raises `OSError`."""
        if self._dirty:
            self.remember(self.ledger)

    def take(self, desired: Desired) -> None:
        """The server's wish arrived. It is on disk before it is acted on or reported as seen (`flush`)."""
        answer = accept(self.ledger, desired, machine.utc_now())
        if not answer.taken:
            self.history.note("refused", f"a desired state was refused: {answer.why}")
            return
        if answer.new and desired.deployment is not None:
            self._desired_at = {desired.deployment.id: machine.boottime()}
        if answer.why:
            self.history.note("desired", answer.why, desired.deployment.id if desired.deployment else None)
        self._dirty = self._dirty or answer.ledger != self.ledger
        self.ledger = answer.ledger
        if desired.deployment is not None:
            self.keep_variables(desired.deployment.id)
        self.fetches.unblock()
        self.nudge()

    def keep_variables(self, deployment: DeploymentId, *, remove: bool = True) -> None:
        """What the server gave it is on disk from now on, if it is what is desired and its slot is here. What runs of it restarts where
        a value is another. `remove`: the server just said so, if it gave none."""
        desired = self.ledger.desired
        if desired is None or not _is_of(desired, deployment) or deployment not in self.slots.present:
            return
        if desired.variables is None and not remove:
            return
        try:
            changed = self.variables.keep(deployment, desired.variables)
        except OSError as error:
            text = f"the variables of {deployment} cannot be kept yet: {error.strerror}"
            if self._not_kept != text:
                self.history.trouble(text)
            self._not_kept = text
            return
        self._not_kept, self._boots = None, None if changed else self._boots
        if changed and deployment == self.ledger.live:
            given = desired.variables
            what = f"{given.environment}, revision {given.revision}" if given is not None else "none any more"
            self.history.note("variables", f"{deployment} has other variables now: {what}", deployment)
            plan = self.replan()
            if plan is not None:
                self.services.use(plan)
            self.nudge()

    def sealed_off(self, deployment: DeploymentId) -> VariablesSealed | None:
        """Why it cannot be started, or not with what the server gave it last."""
        desired = self.ledger.desired
        given = desired.variables if desired is not None and _is_of(desired, deployment) else None
        if given is not None and not self.variables.has(deployment, given):
            self.keep_variables(deployment)
            if not self.variables.has(deployment, given):
                why = self.variables.trouble(deployment) or "they cannot be written to the disk"
                return VariablesSealed(deployment, why)
        trouble = self.variables.trouble(deployment)
        return VariablesSealed(deployment, trouble) if trouble is not None else None

    def take_ticket(self, digest: ManifestDigest, ticket: str) -> None:
        """Another ticket for the content of what is wanted, or of something else that is here and damaged."""
        desired = self.ledger.desired
        if desired is not None and desired.deployment is not None and desired.deployment.digest == digest:
            self.ledger = msgspec.structs.replace(self.ledger, desired=msgspec.structs.replace(desired, ticket=ticket))
            self.fetches.unblock(desired.deployment.id)
        else:
            self._repair_ticket = (digest, ticket)
            for deployment, slot in self.ledger.slots.items():
                if slot.ref.digest == digest:
                    self.fetches.unblock(deployment)
        self.nudge()

    def plan_of(self, deployment: DeploymentId) -> Plan:
        """How its services are to run here, now. Raises `NotFound`, `BadInput`."""
        ref = self.ledger.slots[deployment].ref
        given = self.variables.of(deployment)
        plan = make_plan(
            self.paths, self.config, self.platform, ref, self.slots.manifest(deployment), given, self.mask.hide
        )
        known = self.services.plan
        for text in plan.trouble if known is None or known.trouble != plan.trouble else ():
            self.history.trouble(text)
        return plan

    def _hook_ran(self, service: str, kind: HookKind, live: DeploymentId, failure: str | None) -> None:
        """Of the trial of `live`; told on disk before it counts."""
        trial = self.ledger.trial
        if trial is None or trial.deployment != live:
            return
        try:
            self.remember(hook_ran(self.ledger, service, kind, failure))
        except OSError as error:
            self.history.trouble(
                f"{service}: {kind} has to run again, as it could not be written down: {error.strerror}"
            )

    def keeps_for_boot(self, deployment: DeploymentId | None) -> bool:
        """Whether the machine starts it at boot, as far as this agent knows."""
        if deployment is not None and deployment not in self.slots.laid_out:
            return True  # once it is whole
        return self._boots == (deployment, self.services.ports(deployment))

    async def keep_for_boot(self, deployment: DeploymentId | None) -> None:
        """From now on the machine starts it at boot. Raises `LekiwiError`, `OSError`."""
        kept = (deployment, self.services.ports(deployment))
        await self.services.keep_for_boot(self.plan_of(deployment) if deployment is not None else None)
        self._boots = kept

    def replan(self) -> Plan | None:
        """The live deployment's plan, with the robot's variables as they are now."""
        live = self.ledger.live
        if live is None:
            return None
        try:
            return self.plan_of(live)
        except LekiwiError as error:
            self.history.trouble(f"the services of {live} cannot be started: {error.message}")
            return None

    def plan_again(self) -> Plan | None:
        """As `replan`, for a service that ended: nothing is started out of a tree that is damaged."""
        live = self.ledger.live
        return self.replan() if live is None or live in self.slots.laid_out else None

    def _note_of_service(
        self, kind: str, text: str, deployment: DeploymentId | None = None, service: str | None = None
    ) -> None:
        self.history.note(kind, text, deployment, service)
        if kind == "exited":
            self.look_at_live()

    def look_at_live(self) -> None:
        """A service ended, perhaps since its files are damaged: see whether they are."""
        live = self.ledger.live
        if live is None or live not in self.slots.laid_out or self.slots.check(live):
            return
        what = "is laid out again" if live in self.slots.present else "what is missing is fetched again"
        self.history.note("damaged", f"files of {live} are damaged on this disk; it {what}", live)
        self.nudge()

    def fetch(self, deployment: DeploymentId) -> None:
        """Begin to get what is missing of it."""
        record = self.ledger.slots[deployment]
        desired = self.ledger.desired
        wanted = desired is not None and desired.deployment is not None and desired.deployment.id == deployment
        self.fetches.start(
            Job(
                ref=record.ref,
                ticket=desired.ticket if desired is not None and wanted else self._ticket_for(record.ref.digest),
                base=self._base(deployment),
                rollback_to=self.ledger.live,
            )
        )

    def _ticket_for(self, digest: ManifestDigest) -> str | None:
        return self._repair_ticket[1] if self._repair_ticket is not None and self._repair_ticket[0] == digest else None

    async def prepare(self, deployment: DeploymentId) -> None:
        """Its tree was laid out: do what makes it quick to start."""
        if not is_wanted(self.slots.manifest(deployment), self.platform):
            return
        interpreter = self.paths.bin / "python3"
        wrong = await compile_slot(self.slots.folder(deployment), interpreter, self.services.helpers)
        if wrong is not None:
            self.history.trouble(f"{deployment}: {wrong}")

    def _base(self, deployment: DeploymentId) -> tuple[DeploymentId, ManifestDigest] | None:
        """What to start a download from: the same content under another name, else what is live, else the newest."""
        here = {id_: slot for id_, slot in self.ledger.slots.items() if id_ in self.slots.present and id_ != deployment}
        wanted = self.ledger.slots[deployment].ref.digest
        for id_, slot in here.items():
            if slot.ref.digest == wanted:
                return id_, slot.ref.digest
        if self.ledger.live in here and self.ledger.live is not None:
            return self.ledger.live, here[self.ledger.live].ref.digest
        newest = max(here, key=lambda id_: here[id_].staged, default=None)
        return (newest, here[newest].ref.digest) if newest is not None else None

    def _fetched(self, job: Job, received: int, error: Exception | None) -> None:
        deployment = job.ref.id
        if error is None:
            self.slots.present.add(deployment)
            self.slots.laid_out.add(deployment)
            since = self._desired_at.get(deployment)
            ready_ms = (machine.boottime() - since) * 1000 if since is not None else None
            kind = "repaired" if self.ledger.slots[deployment].staged else "fetched"
            fp("stage.before_journal")
            try:
                self.variables.restore(deployment)
                self.keep_variables(deployment, remove=False)
                self.remember(staged(self.ledger, deployment, wire_bytes=received, ready_ms=ready_ms))
            except OSError as failure:
                self.fetches.block(deployment, failure)
            else:
                fp("stage.after_journal")
                self.history.note(kind, f"{deployment} is here, {received} bytes received", deployment)
        else:
            self._not_fetched(deployment, error)
        self.nudge()

    def _not_fetched(self, deployment: DeploymentId, error: Exception) -> None:
        self.fetches.block(deployment, error)
        if isinstance(error, TicketExpired):
            self.tickets_due.add(self.ledger.slots[deployment].ref.digest)
            self.ticket_due.set()
            return
        if isinstance(error, NoRoom):
            self.collect_due = True
            self.nudge()
        desired = self.ledger.desired
        wanted = desired is not None and desired.deployment is not None and desired.deployment.id == deployment
        if wanted and isinstance(error, (BadInput, NotFound)):
            why = f"cannot be fetched: {error.message}"
            failed = fetch_failed(self.ledger, deployment, why, machine.utc_now())
            if failed != self.ledger:
                self.ledger, self._dirty = failed, True
                self.history.note("failed", f"{deployment} {why}", deployment, outcome=failed.outcome)
            return
        text = error.message if isinstance(error, LekiwiError) else str(error)
        self.history.note("trouble", f"{deployment} cannot be fetched now: {text}", deployment)


def _is_of(desired: Desired, deployment: DeploymentId) -> bool:
    return desired.deployment is not None and desired.deployment.id == deployment
