"""The rounds in which an instance meets the others: ask, merge, tell; and what silence means.

    every second:   FleetAsk ──► FleetHeard ──► merge, a slice a turn ──► FleetTell ──► FleetTold
                        │                                                     │
                        └───────── down, unknown: keep what we have ──────────┘

While there is more to read or to tell than one round takes, the next one follows at once.  If the
store has lost what we told it, all of it is told again.  Nothing here waits for the store: as long
as it is away, the others are judged by our clock alone.
"""

from pointsman_sched.core.events import Alarm, Stopped, TellWorkers
from pointsman_sched.core.federation.leaving import Elsewhere, Leaving
from pointsman_sched.core.federation.neighbours import Neighbours
from pointsman_sched.core.federation.rate_shares import RateShares
from pointsman_sched.core.federation.settings import FederationSettings
from pointsman_sched.core.federation.shared_pairing import SharedPairing
from pointsman_sched.core.federation.shared_settings import SharedSettings
from pointsman_sched.core.federation.showing import Shown
from pointsman_sched.core.federation.told import Presence, Untrue, encode, read_presence
from pointsman_sched.core.joining.revocations import told_revocations
from pointsman_sched.core.state import ManagementState
from pointsman_shm.uplink import NameHeld
from pointsman_wire.coordination.fleet_requests import (
    FleetAsk,
    FleetHeard,
    FleetLeave,
    FleetLeft,
    FleetPair,
    FleetRedeem,
    FleetSettle,
    FleetSettled,
    FleetTell,
    FleetTold,
)
from pointsman_wire.coordination.requests import Answer, Request

ROUND_NS = 1_000_000_000
# Between rounds while there is more to do than one takes.
BEHIND_NS = 100_000_000
# There is nothing left to do: the process ends before that.
OVER_NS = 60_000_000_000
# An answer that the shell owes for so long will not come.
ANSWER_NS = 10_000_000_000


class Federation:
    """This instance among the others."""

    def __init__(
        self, settings: FederationSettings, state: ManagementState, neighbours: Neighbours
    ) -> None:
        now_ns = state.clock_ns
        self._presence_ms = settings.presence_ns // 1_000_000
        self.shown = Shown(len(state.nodes.by_row))
        self.neighbours = neighbours
        self.settings = SharedSettings()
        self.pairing = SharedPairing()
        self.shares = RateShares(
            state.config.tenants, state.setup.memory.waiting, self.living_count
        )
        # Why nothing is heard; "" while all is well.
        self.trouble = "nothing was heard yet"
        self.heard_at_ns = now_ns
        self.leader = ""
        # So that what a successor tells is never taken for what its predecessor told.
        self._count = max(1, (state.setup.wall_clock_offset_ns + state.now_ns) // 1_000_000)
        self.shown.begin_at(self._count)
        self._number = 0
        self._pending: Request | None = None
        self._asked_at_ns = now_ns
        self._next_ask_ns = now_ns
        self._next_tell_ns = now_ns
        self.elsewhere = Elsewhere()
        self._told_count = 0  # of the presence that the store has, as far as we know
        self.has_name: bool | None = None  # as Redis said last; None: it has not yet
        self._is_namesake_told = False
        self._leaving: Leaving | None = None  # once the manager was told to stop
        self._is_over = False

    @property
    def living_count(self) -> int:
        """Return how many instances live, this one included."""
        return 1 + len(self.neighbours.living)

    def next_deadline_ns(self, state: ManagementState) -> int:
        """Return when to be called next (core's clock)."""
        if self._is_over:
            return state.clock_ns + OVER_NS
        if self._leaving is not None:
            return self._leaving.next_deadline_ns(state)
        if self.neighbours.is_reading:
            return state.clock_ns
        if self._pending is not None:
            return self._asked_at_ns + ANSWER_NS
        return self._next_ask_ns

    def run(self, state: ManagementState) -> None:
        """Do what is due: a slice of what was read, or the next round."""
        now_ns = state.clock_ns
        if self._leaving is not None:
            self._leave(state, self._leaving)
        elif self._pending is not None:
            if now_ns >= self._asked_at_ns + ANSWER_NS:
                self._away(state, "no answer came at all")
        elif self.neighbours.is_reading:
            self.neighbours.take_slice(state)
            if not self.neighbours.is_reading:
                self._go_on(state)
        elif now_ns >= self._next_ask_ns:
            self._ask(state)

    def answered(self, state: ManagementState, answer: Answer) -> None:
        """The store answered, or the shell gave it up."""
        pending = self._pending
        if pending is None or answer.number != pending.number:
            return
        self._pending = None
        if self._leaving is not None:
            self._leaving.is_said |= isinstance(answer, FleetLeft)
        elif isinstance(answer, FleetHeard) and answer.outcome == "done":
            assert isinstance(pending, FleetAsk)
            self._heard(state, pending, answer)
        elif isinstance(answer, FleetTold) and answer.outcome == "done":
            self._told_count = self._count
            self.shares.told()
            self._go_on(state)
        elif isinstance(answer, FleetSettled) and answer.outcome in ("done", "behind"):
            self.settings.settled(state, is_done=answer.outcome == "done")
        elif isinstance(answer, FleetTold) and answer.outcome == "taken":
            self.shown.note_all()  # the next FleetAsk tells by whom
        else:
            self._away(state, answer.error)

    # ---- asking

    def _wish(self, state: ManagementState, request: Request) -> None:
        self._pending, self._asked_at_ns = request, state.clock_ns
        state.outbox.wish(request)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _ask(self, state: ManagementState) -> None:
        self.neighbours.judge(state)
        self._next_ask_ns = state.clock_ns + ROUND_NS
        wish = FleetAsk(
            self._next_number(),
            name=state.setup.instance,
            uid=state.setup.instance_uid,
            presence_ms=self._presence_ms,
            known=self.neighbours.names,
            parts=self.neighbours.wanted(),
            settings_version=self.settings.read_version,
        )
        self._wish(state, wish)

    def _heard(self, state: ManagementState, asked: FleetAsk, heard: FleetHeard) -> None:
        self.leader = heard.leader
        if heard.holder != state.setup.instance_uid:
            self._hold_name(state, is_ours=False)
            self._meet_namesake(state, heard.holder)
            return
        self._hold_name(state, is_ours=True)
        if self.trouble and self._told_count:
            state.outbox.wish(Alarm("the other instances are heard again"))
        self._is_namesake_told = False
        self.trouble, self.heard_at_ns = "", state.clock_ns
        self._compare_own(state, heard)
        own = state.setup.instance
        presences = {name: blob for name, blob in heard.presences.items() if name != own}
        self.neighbours.heard(state, presences, heard.parts)
        self.neighbours.name(heard.names, own)
        if self.neighbours.is_met:
            self.settings.heard(state, heard, self.neighbours.living)
            self.shares.heard(state, self.neighbours.living)
            self.elsewhere.heard(state, self.neighbours.living)
        if not self.neighbours.is_reading:
            self.neighbours.take_slice(state)
            self._go_on(state)

    def _go_on(self, state: ManagementState) -> None:
        """After reading and after telling: what else is there to do in this round?"""
        settle = self.settings.wish(state, self._number + 1)
        if settle is not None:
            self._number += 1
            self._wish(state, settle)
        elif state.clock_ns >= self._next_tell_ns:
            self._tell(state)
        elif self.neighbours.is_behind or not self.neighbours.is_met or self.shown.is_behind:
            self._next_ask_ns = min(self._next_ask_ns, state.clock_ns + BEHIND_NS)
            if self.shown.is_behind:
                self._next_tell_ns = self._next_ask_ns

    def _tell(self, state: ManagementState) -> None:
        self._next_tell_ns = state.clock_ns + ROUND_NS
        parts = self.shown.take(state)
        wish = FleetTell(
            self._next_number(),
            name=state.setup.instance,
            uid=state.setup.instance_uid,
            presence=encode(self._presence(state)),
            presence_ms=self._presence_ms,
            parts=tuple(parts.items()),
        )
        self._wish(state, wish)

    def _presence(self, state: ManagementState) -> Presence:
        self._count += 1
        setup = state.setup
        return Presence(
            name=setup.instance,
            uid=setup.instance_uid,
            count=self._count,
            worker_count=setup.worker_count,
            software=setup.server_version,
            addresses=_if_told(setup.advertised),
            node_count=state.nodes.live_count,
            settings_version=self.settings.version,
            pages=self.shown.versions(),
            shares=self.shares.claims(state),
            is_leaving=self._leaving is not None,
            revoked=told_revocations(state),
            tls_addresses=_if_told(setup.authority.advertised if setup.authority else ""),
        )

    # ---- the end

    def stop(self, state: ManagementState) -> None:
        """The manager was told to stop."""
        if self._leaving is None:
            self._leaving = Leaving(state.clock_ns)

    def _leave(self, state: ManagementState, leaving: Leaving) -> None:
        if self._is_over:
            return
        if leaving.is_over(state):
            self._is_over = True
            state.outbox.wish(Stopped())
        elif self._pending is None and leaving.is_due(state):
            wish = FleetLeave(
                self._next_number(),
                name=state.setup.instance,
                uid=state.setup.instance_uid,
                presence=encode(self._presence(state)),
                presence_ms=self._presence_ms,
            )
            self._wish(state, wish)

    # ---- trouble

    def _away(self, state: ManagementState, words: str) -> None:
        self._pending = None
        # What it has got of a round that failed is not known.
        self.shown.note_all()
        if not self.trouble:
            state.outbox.wish(Alarm(f"the other instances cannot be heard: {words}"))
        self.trouble = words or "no answer"
        self.neighbours.judge(state)
        self.shares.away(state, self.living_count)

    def _hold_name(self, state: ManagementState, *, is_ours: bool) -> None:
        """Only who has the name may read what is sent to it."""
        if self.has_name != is_ours:
            self.has_name = is_ours
            state.outbox.wish(TellWorkers(NameHeld(is_ours=is_ours)))

    def _meet_namesake(self, state: ManagementState, holder: str) -> None:
        words = (
            f"another instance is named {state.setup.instance!r} too (uid {holder}): the names of "
            "instances that share a fleet must differ; this one keeps to itself, and is sent "
            "nothing, until that one is gone: give one of them another name (server.instance, "
            "--instance) and start it anew"
        )
        self._away(state, words)
        if not self._is_namesake_told:
            self._is_namesake_told = True
            state.outbox.wish(Alarm(words))

    def _compare_own(self, state: ManagementState, heard: FleetHeard) -> None:
        """Tell everything again if the store has lost some of what it was given."""
        if not self._told_count:
            return
        blob = heard.presences.get(state.setup.instance, b"")
        try:
            count = read_presence(blob, state.setup.instance).count
        except Untrue:
            count = 0
        if count < self._told_count or heard.own_part_count < self.shown.part_count:
            self.shown.note_all()


def _if_told(address: str) -> tuple[str, ...]:
    return (address,) if address else ()


def fleet_answered(state: ManagementState, answer: Answer) -> None:
    """The store answered what the federation asked."""
    assert state.federation is not None, "who asks nothing is not answered"
    state.federation.answered(state, answer)


FLEET_REQUESTS = (FleetAsk, FleetTell, FleetSettle, FleetLeave, FleetPair, FleetRedeem)
