"""Faults: each kind is one function that does it once, somewhere, and says what it did.

The nemesis strikes at random instants with random kinds until it is stopped; then everything that
lasts is healed.
"""

from collections.abc import Callable

from pointsman_sim.cluster import Cluster
from pointsman_sim.parts.agent_part import AgentProcess
from pointsman_sim.storms import LONG_NS, STORMS
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.network import TIMEOUT_NS
from pointsman_sim.world.process import Process
from pointsman_wire.preamble import Role
from pointsman_workers.core.events import StopWished

Fault = Callable[[Cluster, Dice], str]

CRASH_COMMANDS_MAX = 6
CRASH_POINTS_MAX = 30
STALL_NS = (300 * MS, 5 * S)
CUT_NS = (300 * MS, 6 * S)
STRANDED_NS = (4 * S, 12 * S)
STOP_NS = 4 * S
UNREAD_MARK_MAX = 6
# How long the harm of a kind may last; of silence nobody is told before the kernel gives up.
LASTS_NS = {
    "agent_power_loss": TIMEOUT_NS,
    "connection_half_open": TIMEOUT_NS,
    "flapping": 15 * S,
    "half_partition": 45 * S,
    "lane_stranded": STRANDED_NS[1],
    "host_pause": LONG_NS[1] + TIMEOUT_NS,
    "long_stall": LONG_NS[1] + TIMEOUT_NS,
}


def _agent(cluster: Cluster, dice: Dice) -> AgentProcess | None:
    agents = [n.process for n in cluster.nodes if n.process is not None and n.process.is_alive]
    return dice.pick(agents) if agents else None


def _crash(process: Process, dice: Dice) -> str:
    """Let a process die, at once or between two commands of its next turn."""
    if dice.chance(0.5):
        process.kill()
        return process.name
    process.dies_after = dice.between(0, CRASH_COMMANDS_MAX)
    return f"{process.name} after {process.dies_after} commands"


def agent_crash(cluster: Cluster, dice: Dice) -> str:
    """A node's process dies; it is restarted with what it had stored."""
    agent = _agent(cluster, dice)
    return _crash(agent, dice) if agent else ""


def agent_amnesia(cluster: Cluster, dice: Dice) -> str:
    """A node's process dies and its disk is empty: it comes back as another node."""
    agent = _agent(cluster, dice)
    if agent is None:
        return ""
    agent.kill()
    agent.node.forget()
    return agent.name


def agent_power_loss(cluster: Cluster, dice: Dice) -> str:
    """A machine is gone: no connection of it is ended."""
    agent = _agent(cluster, dice)
    if agent is None:
        return ""
    agent.kill(is_silent=True)
    return agent.name


def agent_stall(cluster: Cluster, dice: Dice) -> str:
    """A node's process does not run for a while."""
    agent = _agent(cluster, dice)
    return _stall(agent, dice) if agent else ""


def _stall(process: Process, dice: Dice) -> str:
    duration_ns = dice.between(*STALL_NS)
    process.freeze(duration_ns)
    return f"{process.name} for {duration_ns / S:.1f} s"


def agent_wishes(cluster: Cluster, dice: Dice) -> str:
    """A node's owner wants no jobs for a while, stops services, or drains it."""
    agent = _agent(cluster, dice)
    if agent is None:
        return ""
    agent.node.wish(dice)
    cluster.schedule.after(dice.between(S, 4 * S), agent.node.please)
    return agent.name


def client_crash(cluster: Cluster, dice: Dice) -> str:
    """A client's process dies; the next one asks again under the same ids."""
    clients = [site for site in cluster.clients if site.process and site.process.is_alive]
    if not clients:
        return ""
    site = dice.pick(clients)
    assert site.process is not None
    site.process.kill()
    cluster.schedule.after(dice.between(20 * MS, 3 * S), site.start)
    return site.name


def client_slow(cluster: Cluster, dice: Dice) -> str:
    """A client does not read for a while, and its worker notices sooner or later."""
    roles = (Role.SESSION, Role.TRUNK)
    wires = [w for w in cluster.network.wires.values() if w.preamble.role in roles]
    if not wires:
        return ""
    wire = dice.pick(wires)
    cluster.network.ignore(wire, dice.between(1, UNREAD_MARK_MAX))
    duration_ns = dice.between(*CUT_NS)
    cluster.schedule.after(duration_ns, lambda: cluster.network.attend(wire))
    return f"{wire.preamble.role.name} {wire.number} for {duration_ns / S:.1f} s"


def connection_drop(cluster: Cluster, dice: Dice) -> str:
    """One connection breaks."""
    wires = [*cluster.network.wires.values()]
    if not wires:
        return ""
    wire = dice.pick(wires)
    cluster.network.drop(wire)
    return f"{wire.preamble.role.name} {wire.number}"


def connection_half_open(cluster: Cluster, dice: Dice) -> str:
    """One connection swallows what is sent, in one direction or in both."""
    wires = [*cluster.network.wires.values()]
    if not wires:
        return ""
    wire = dice.pick(wires)
    cluster.network.silence(wire, dice.pick(((0,), (1,), (0, 1))))
    return f"{wire.preamble.role.name} {wire.number}"


def dial_failure(cluster: Cluster, dice: Dice) -> str:
    """The next few dials fail, and one connection breaks so that there are some."""
    cluster.network.failing_dials = dice.between(1, 4)
    return connection_drop(cluster, dice)


def lane_stall(cluster: Cluster, dice: Dice) -> str:
    """One lane carries nothing for a while."""
    lanes = [w for w in cluster.network.wires.values() if w.preamble.role is Role.LANE]
    if not lanes:
        return ""
    wire = dice.pick(lanes)
    cluster.network.hold(wire)
    cluster.schedule.after(dice.between(*CUT_NS), lambda: cluster.network.release(wire))
    return f"lane {wire.number}"


def lane_stranded(cluster: Cluster, dice: Dice) -> str:
    """A worker loses a lane, and the node gets what was on its way when all that is long over."""
    lanes = [w for w in cluster.network.wires.values() if w.preamble.role is Role.LANE]
    if not lanes:
        return ""
    wire, duration_ns = dice.pick(lanes), dice.between(*STRANDED_NS)
    cluster.network.hold(wire)  # something shall be on its way when it breaks
    cut_ns = dice.between(0, 1_500 * MS)
    cluster.schedule.after(cut_ns, lambda: cluster.network.strand(wire, duration_ns))
    return f"lane {wire.number} for {duration_ns / S:.1f} s"


def partition(cluster: Cluster, dice: Dice) -> str:
    """One node is cut off for a while: nothing arrives, nothing is lost, no dial works."""
    agent = _agent(cluster, dice)
    if agent is None:
        return ""
    network = cluster.network
    wires = network.wires_of(agent)
    for wire in wires:
        network.hold(wire)
    network.cut_off[agent.name] = None
    duration_ns = dice.between(*CUT_NS)

    def heal() -> None:
        network.cut_off.pop(agent.name, None)
        for wire in wires:
            network.release(wire)

    cluster.schedule.after(duration_ns, heal)
    return f"{agent.name} for {duration_ns / S:.1f} s"


def manager_crash(cluster: Cluster, dice: Dice) -> str:
    """The manager dies at a crash point, or between two commands."""
    manager = cluster.instance.manager
    if manager is None:
        return ""
    if dice.chance(0.5):
        return _crash(manager, dice)
    manager.points_left = dice.between(0, CRASH_POINTS_MAX)
    return f"manager at the crash point after {manager.points_left} others"


def manager_stall(cluster: Cluster, dice: Dice) -> str:
    """The manager does not run for a while."""
    manager = cluster.instance.manager
    return _stall(manager, dice) if manager else ""


def service_crash(cluster: Cluster, dice: Dice) -> str:
    """The whole service dies at once, and its shared memory is gone."""
    cluster.instance.crash()
    return "all of it"


def worker_crash(cluster: Cluster, dice: Dice) -> str:
    """A worker dies: its memory is lost, the ledger stays."""
    worker = dice.pick(cluster.instance.workers)
    return _crash(worker, dice) if worker else ""


def worker_stall(cluster: Cluster, dice: Dice) -> str:
    """A worker does not run for a while."""
    worker = dice.pick(cluster.instance.workers)
    return _stall(worker, dice) if worker else ""


def worker_stop(cluster: Cluster, dice: Dice) -> str:
    """A worker is asked to stop; it finishes what it can in time."""
    worker = dice.pick(cluster.instance.workers)
    if worker is None:
        return ""
    worker.post(StopWished(cluster.schedule.now_ns + STOP_NS))
    return worker.name


ACTS: dict[str, Fault] = {
    act.__name__: act
    for act in (
        agent_amnesia, agent_crash, agent_power_loss, agent_stall, agent_wishes, client_crash,
        client_slow, connection_drop, connection_half_open, dial_failure, lane_stall, lane_stranded,
        manager_crash, manager_stall, partition, service_crash, worker_crash, worker_stall,
        worker_stop, *STORMS,
    )
}  # fmt: skip


class Nemesis:
    """Strikes until it is stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._dice = Dice(cluster.settings.seed, "nemesis")
        self._is_over = False

    def start(self) -> None:
        """Begin, if there are kinds of faults to choose from."""
        if self._cluster.settings.faults:
            self._later()

    def _later(self) -> None:
        mean_ns = int(S / self._cluster.settings.faults_per_s)
        self._cluster.schedule.after(self._dice.between(0, 2 * mean_ns), self._strike)

    def _strike(self) -> None:
        if not self._is_over:
            self.strike(self._dice.pick(self._cluster.settings.faults))
            self._later()

    def strike(self, kind: str) -> None:
        """Do one fault now."""
        victim = ACTS[kind](self._cluster, self._dice)
        if victim:
            self._cluster.history.counts[f"fault {kind}"] += 1
            self._cluster.history.note("nemesis", kind, victim)
            lasts_s = LASTS_NS.get(kind, CUT_NS[1]) / S
            self._cluster.world.struck(kind, victim, seconds=lasts_s)

    def stop(self) -> None:
        """Do no more harm, and end what lasts."""
        self._is_over = True
        self._cluster.network.heal()
        manager = self._cluster.instance.manager
        if manager is not None:
            manager.points_left = None
        for process in self._cluster.processes():
            process.dies_after = None
        for node in self._cluster.nodes:
            node.please()
        for disk in self._cluster.instance.disks:
            disk.fill(is_full=False)
