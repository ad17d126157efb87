"""Faults that strike many parts, last long, or are lies: each a function, as in faults.py."""

from pointsman_sim.cluster import Cluster
from pointsman_sim.parts.agent_part import AgentProcess
from pointsman_sim.world.dice import MS, Dice, S
from pointsman_sim.world.process import Process

LONG_NS = (10 * S, 60 * S)
PARTITION_NS = (2 * S, 10 * S, 45 * S)
FLAPS = (3, 10)
FULL_NS = (S, 8 * S)
LIES_NS = (S, 5 * S)


def _agents(cluster: Cluster) -> list[AgentProcess]:
    return [n.process for n in cluster.nodes if n.process is not None and n.process.is_alive]


def power_loss(cluster: Cluster, dice: Dice) -> str:
    """The host loses power: every process, shared memory, and what was not synced."""
    return f"the host; {cluster.instance.lose_power()} turns were not synced"


def disk_full(cluster: Cluster, dice: Dice) -> str:
    """No journal gets another segment for a while."""
    disks = cluster.instance.disks
    for disk in disks:
        disk.fill(is_full=True)

    def empty() -> None:
        for disk in disks:
            disk.fill(is_full=False)

    cluster.schedule.after(dice.between(*FULL_NS), empty)
    return "the disk of all journals"


def half_partition(cluster: Cluster, dice: Dice) -> str:
    """Half of the nodes are cut off, for longer or shorter than connections stand."""
    agents = _agents(cluster)
    agents = agents[: (len(agents) + 1) // 2]
    network = cluster.network
    wires = [wire for agent in agents for wire in network.wires_of(agent)]
    for wire in wires:
        network.hold(wire)
    names = [agent.name for agent in agents]
    network.cut_off.update(dict.fromkeys(names))
    duration_ns = dice.pick(PARTITION_NS)

    def heal() -> None:
        for name in names:
            network.cut_off.pop(name, None)
        for wire in wires:
            network.release(wire)

    cluster.schedule.after(duration_ns, heal)
    return f"{', '.join(names)} for {duration_ns / S:.0f} s" if names else ""


def flapping(cluster: Cluster, dice: Dice) -> str:
    """A node's connections break about every second, again and again."""
    agents = _agents(cluster)
    if not agents:
        return ""
    name = dice.pick(agents).name
    times = dice.between(*FLAPS)

    def flap(left: int) -> None:
        for agent in _agents(cluster):
            for wire in cluster.network.wires_of(agent) if agent.name == name else []:
                cluster.network.drop(wire)
        if left:
            delay_ns = dice.between(700 * MS, 1_300 * MS)
            cluster.schedule.after(delay_ns, lambda: flap(left - 1))

    flap(times)
    return f"{name}, {times} times"


def long_stall(cluster: Cluster, dice: Dice) -> str:
    """A process of the service stands still for longer than anybody waits for it."""
    instance = cluster.instance
    parts: list[Process] = [p for p in (instance.manager, *instance.workers) if p is not None]
    if not parts:
        return ""
    part, duration_ns = dice.pick(parts), dice.pick(LONG_NS)
    part.freeze(duration_ns)
    return f"{part.name} for {duration_ns / S:.0f} s"


def host_pause(cluster: Cluster, dice: Dice) -> str:
    """The whole host stands still, as a virtual machine does: its clock jumps for all at once."""
    duration_ns = dice.pick(LONG_NS)
    parts = [p for p in (cluster.instance.manager, *cluster.instance.workers) if p is not None]
    for part in parts:
        part.freeze(duration_ns)
    return f"the host for {duration_ns / S:.0f} s"


def agent_lies(cluster: Cluster, dice: Dice) -> str:
    """A node says what is not so, beside what is: see AgentProcess.frames_of."""
    agents = _agents(cluster)
    if not agents:
        return ""
    agent = dice.pick(agents)
    agent.lies_until_ns = cluster.schedule.now_ns + dice.between(*LIES_NS)
    return agent.name


STORMS = (
    agent_lies, disk_full, flapping, half_partition, host_pause, long_stall, power_loss,
)  # fmt: skip
