"""Faults that the kernel's own timers must see: packets, links and addresses that are gone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from faults.namespaces import Namespace
from faults.yard import CONFIG, Figures, Yard
from live.nodes import NodeProcess
from live.service import LiveService, started, until
from supervised_service import Place

LARGE_BYTES = 200_000


@contextmanager
def reachable_service(here: Place, network: Namespace) -> Iterator[LiveService]:
    """A service that listens at this host's address of the network; the caller stops it."""
    options = ("--host", network.host_address, "--insecure-plaintext")
    with started(here, *options, config=CONFIG) as service:
        service.address = f"{network.host_address}:{service.port}"
        yield service


async def inside_node(yard: Yard, network: Namespace, name: str, slots: int = 8) -> str:
    """Start a node in the network and wait until it is ready; returns its id."""
    node = NodeProcess(
        yard.service.address,
        yard.journal,
        yard.tgt,
        node_id=f"{name}-{yard.tgt}",
        slots=slots,
        before=tuple(network.command()),
    )
    yard.stack.callback(node.close)
    await yard.is_in_state(node.node_id, "ready")
    return node.node_id


async def blackhole_while_idle(yard: Yard, network: Namespace) -> Figures:
    """N1: dead within five heartbeats, its connections freed, and back when packets pass again."""
    gone = await inside_node(yard, network, "gone")
    network.lose()
    dead_s = await yard.is_in_state(gone, "offline", "")
    await until(lambda: yard.connections() == 0, "its connections are freed")
    network.heal()
    back_s = await yard.is_in_state(gone, "ready")
    return {"dead_after_s": dead_s, "ready_after_heal_s": back_s}


async def blackhole_with_unacknowledged_data(yard: Yard, network: Namespace) -> Figures:
    """N1: what was sent to it stays in the kernel's queue; another node does the jobs."""
    gone = await inside_node(yard, network, "gone")
    session = await yard.session(0)
    await asyncio.gather(*yard.submit(session, 2))
    network.lose()
    jobs = yard.submit(session, 8)
    await asyncio.sleep(0.1)
    spare = await yard.node("spare", max_concurrency=8)
    began_s = monotonic()
    results = await asyncio.gather(*jobs)
    took_s = monotonic() - began_s
    assert {result.node_id for result in results} == {spare}
    await yard.is_in_state(gone, "offline", "")
    network.heal()
    yard.journal.check_one_job_each()
    await yard.service.has_no_slots_held()
    return {"elsewhere_after_s": took_s}


async def one_way_loss(yard: Yard, network: Namespace, *, is_mute: bool) -> Figures:
    """N2: packets vanish in one direction only, at one end of the link."""
    half = await inside_node(yard, network, "half")
    session = await yard.session(1)
    await asyncio.gather(*yard.submit(session, 2))
    network.lose(inwards=not is_mute, outwards=is_mute)
    await yard.node("spare", max_concurrency=8)
    began_s = monotonic()
    await asyncio.gather(*yard.submit(session, 6))
    took_s = monotonic() - began_s
    dead_s = took_s + await yard.is_in_state(half, "offline", "")
    network.heal()
    back_s = await yard.is_in_state(half, "ready")
    await asyncio.gather(*yard.submit(session, 6))
    yard.journal.check_one_job_each()
    await yard.service.has_no_slots_held()
    return {"elsewhere_after_s": took_s, "dead_after_s": dead_s, "ready_after_heal_s": back_s}


async def mute_node(yard: Yard, network: Namespace) -> Figures:
    """N2: it hears us, we do not hear it."""
    return await one_way_loss(yard, network, is_mute=True)


async def deaf_node(yard: Yard, network: Namespace) -> Figures:
    """N2: we would hear it; without our acknowledgements it can soon send nothing more."""
    return await one_way_loss(yard, network, is_mute=False)


async def link_that_flaps(yard: Yard, network: Namespace) -> Figures:
    """N3: the link is down for less than three heartbeats, again and again: nothing is lost."""
    node = await inside_node(yard, network, "flapping")
    session = await yard.session(0)
    jobs = yard.submit(session, 12, sleep_s=0.3)
    for _ in range(3):
        network.take_down()
        await asyncio.sleep(0.4)
        network.bring_up()
        await asyncio.sleep(0.6)
    await asyncio.gather(*jobs)
    await yard.is_in_state(node, "ready")
    yard.journal.check_one_job_each()
    assert yard.journal.most_at_once(node) <= 8, "I4"
    await yard.service.has_no_slots_held()
    starts = yard.journal.starts()
    return {"jobs": len(starts), "starts": sum(len(entries) for entries in starts.values())}


async def narrow_link(yard: Yard, network: Namespace) -> Figures:
    """N5: 64 kilobits a second towards the node, and jobs of megabytes: others are not held up."""
    await inside_node(yard, network, "slow")
    await yard.measured()
    before_ms = yard.meter.p99_ms()
    session = await yard.session(0)
    memory = yard.memory_bytes()
    network.slow(64)
    yard.meter.start_anew()
    payload = b"z" * LARGE_BYTES
    jobs = [
        asyncio.create_task(session.submit(payload, services=["nmt"], timeout_s=28.0))
        for _ in range(8)
    ]
    await yard.meter.has(100)
    await yard.node("spare", max_concurrency=8)
    await asyncio.gather(*jobs)
    grown = yard.memory_bytes() - memory
    assert grown < 64 * 1024 * 1024, f"{grown} bytes more are held"
    network.heal()
    return {"others_p99_ms_before": before_ms, "others_p99_ms": yard.meter.p99_ms()}


async def address_that_is_lost(yard: Yard, network: Namespace) -> Figures:
    """N16: the service's address is gone for a while; the node comes back by itself."""
    node = await inside_node(yard, network, "waiting")
    network.lose_address()
    await asyncio.sleep(0.2)
    lost_s = await yard.is_in_state(node, "suspect", "offline", "")
    network.regain_address()
    back_s = await yard.is_in_state(node, "ready")
    return {"suspect_after_s": lost_s, "ready_after_regain_s": back_s}


NetworkScenario = Callable[[Yard, Namespace], Awaitable[Figures]]
SCENARIOS: tuple[NetworkScenario, ...] = (
    blackhole_while_idle,
    blackhole_with_unacknowledged_data,
    mute_node,
    deaf_node,
    link_that_flaps,
    narrow_link,
    address_that_is_lost,
)
