"""What clients do in a run: submits of several kinds, bursts, cancels, repeats."""

import msgspec

from pointsman.session_core.events import CancelWished
from pointsman_sim.parts.abilities import draw_submit
from pointsman_sim.parts.client_part import Asked, ClientSite
from pointsman_sim.parts.handlers import POISON
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.schedule import Schedule

PAYLOAD_BYTES_MAX = 3_000


class Habits(msgspec.Struct, frozen=True, kw_only=True):
    """How one run's clients behave."""

    pause_ns: int  # on average between two acts of one client
    bursts: float = 0.05
    burst_max: int = 20
    cancels: float = 0.06
    repeats_soon: float = 0.05
    repeats_later: float = 0.05
    poison: float = 0.02
    open_max: int = 25  # with so many answers outstanding a client asks nothing new


class Workload:
    """Makes the programs ask until it is stopped."""

    def __init__(self, seed: int, schedule: Schedule, sites: list[ClientSite]) -> None:
        dice = Dice(seed, "workload")
        self._schedule = schedule
        self._sites = sites
        self._habits = Habits(pause_ns=dice.pick((40 * MS, 150 * MS, 400 * MS)))
        self._is_over = False
        self._numbers = 0
        self._indices: dict[tuple[str, str], int] = {}

    def start(self) -> None:
        """Let every client begin."""
        for site in self._sites:
            self._later(site, 50 * MS)

    def stop(self) -> None:
        """Let nobody ask anything more."""
        self._is_over = True

    def _later(self, site: ClientSite, delay_ns: int) -> None:
        self._schedule.after(delay_ns, lambda: self._act(site))

    def _act(self, site: ClientSite) -> None:
        if self._is_over:
            return
        dice, habits = site.dice, self._habits
        is_able = site.process is not None and site.process.is_alive
        if is_able and len(site.open_tickets) < habits.open_max:
            count = dice.between(2, habits.burst_max) if dice.chance(habits.bursts) else 1
            for _ in range(count):
                self._ask(site)
        self._later(site, dice.between(0, 2 * habits.pause_ns))

    def _ask(self, site: ClientSite) -> None:
        dice, habits = site.dice, self._habits
        self._numbers += 1
        session = dice.pick([*site.sessions])
        submit = draw_submit(dice, f"r-{self._numbers}")
        if site.orders[session] == "utterance":
            submit = msgspec.structs.replace(submit, utterance_index=self._index(site, session))
        payload = dice.entropy(dice.skewed(0, PAYLOAD_BYTES_MAX))
        if dice.chance(habits.poison):
            payload = POISON + payload
        ticket = site.ask(session, submit, payload)
        asked = site.asked[session, submit.request_id]
        if dice.chance(habits.cancels):
            self._schedule.after(dice.skewed(0, S), lambda: self._cancel(site, ticket))
        if dice.chance(habits.repeats_soon):
            self._schedule.after(dice.skewed(0, 300 * MS), lambda: self._repeat(site, asked))
        if dice.chance(habits.repeats_later):
            self._schedule.after(dice.between(S, 6 * S), lambda: self._repeat(site, asked))

    def _index(self, site: ClientSite, session: str) -> int | None:
        """The next utterance; now and then one is left out, comes twice, or is not numbered."""
        at = self._indices.get((site.name, session), 0)
        step = site.dice.pick((1, 1, 1, 1, 1, 0, 2))
        self._indices[site.name, session] = at + step
        return None if site.dice.chance(0.1) else at

    def _cancel(self, site: ClientSite, ticket: int) -> None:
        if not self._is_over and site.process is not None:
            site.process.post(CancelWished(ticket))

    def _repeat(self, site: ClientSite, asked: Asked) -> None:
        if not self._is_over and site.process is not None and site.process.is_alive:
            site.ask_again(asked)
