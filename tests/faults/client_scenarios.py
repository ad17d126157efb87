"""Faults between clients and the service: weather, clients that read nothing, crowds."""

import asyncio
import socket
from contextlib import AsyncExitStack
from time import monotonic

from faults.proxy import Weather
from faults.yard import Figures, Yard, cpu_seconds, said_by
from live.raw import raw_session

from pointsman_wire.framing import encode_frame
from pointsman_wire.preamble import Role, encode_preamble
from pointsman_wire.session_messages import SessionInit, Submit

PREAMBLE = encode_preamble(Role.SESSION)
INIT = encode_frame(SessionInit())
WEATHERS = {
    "1_byte": Weather(piece_bytes=1),
    "7_bytes": Weather(piece_bytes=7),
    "coalesced": Weather(gather_s=0.05),
    "1_ms": Weather(latency_s=0.001),
    "200_ms": Weather(latency_s=0.2),
    "jitter": Weather(latency_s=0.01, jitter_s=0.1),
    "drip": Weather(bytes_per_s=20_000),
}
SLOW_WEATHERS = {"2_s": Weather(latency_s=2.0)}


async def any_weather(yard: Yard) -> Figures:
    """N4: node and client behind each weather at once; what arrives is what was sent, once."""
    return await _under(yard, WEATHERS)


async def two_seconds_of_latency(yard: Yard) -> Figures:
    """N4: seconds on the way, of the client only: a node so far away is none (heartbeats)."""
    return await _under(yard, SLOW_WEATHERS, is_node_behind=False)


async def _under(
    yard: Yard, weathers: dict[str, Weather], *, is_node_behind: bool = True
) -> Figures:
    for_node, for_client = await yard.proxy(seed=1), await yard.proxy(seed=2)
    await yard.node("far", for_node, max_concurrency=8)
    session = await yard.session(0, for_client)
    figures = {}
    for name, weather in weathers.items():
        behind = [for_client, for_node] if is_node_behind else [for_client]
        for way in [way for proxy in behind for way in (proxy.up, proxy.down)]:
            way.weather = weather
        began_s = monotonic()
        await asyncio.gather(*yard.submit(session, 4))
        figures[f"{name}_s"] = monotonic() - began_s
    for_node.heal()
    for_client.heal()
    yard.journal.check_one_job_each()
    await yard.service.has_no_slots_held()
    return figures


async def client_that_reads_nothing(yard: Yard) -> Figures:
    """N6: what is sent to it is bounded, the rest waits, and others do not notice."""
    await yard.measured()
    before_ms = yard.meter.p99_ms()
    await yard.node("worker", max_concurrency=16)
    memory, connections = yard.memory_bytes(), yard.connections()
    yard.meter.start_anew()
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", yard.service.port)) as peer:
        peer.setblocking(False)
        init = SessionInit(src_lang="en", tgt_lang=yard.tgt)
        await loop.sock_sendall(peer, PREAMBLE + encode_frame(init))
        payload = b"r" * 200_000
        # The results of all of these come back to a socket that nobody reads.
        for number in range(64):
            submit = Submit(
                request_id=f"r{number}",
                services=["nmt"],
                src_lang="en",
                tgt_lang=yard.tgt,
                timeout_s=20.0,
            )
            try:
                await asyncio.wait_for(loop.sock_sendall(peer, encode_frame(submit, payload)), 20)
            except ConnectionError:  # it was cut off meanwhile
                break
        await yard.meter.has(100)
        held = yard.memory_bytes() - memory
    await yard.is_settled(connections)
    grown = yard.memory_bytes() - memory
    assert grown < 128 * 1024 * 1024, f"{grown} bytes more are held"
    return {
        "others_p99_ms_before": before_ms,
        "others_p99_ms": yard.meter.p99_ms(),
        "memory_bytes_held": held,
        "memory_bytes_more": grown,
    }


async def slowloris(yard: Yard, *, count: int = 240, every_s: float = 0.25) -> Figures:
    """N14: bytes drip into preambles, first frames and later frames; all who drip are ended."""
    await yard.measured()
    before_ms = yard.meter.p99_ms()
    cpu_before_s = cpu_seconds(yard.service)
    yard.meter.start_anew()
    began_s = monotonic()
    words = (str(yard.service.port), str(count), str(every_s))
    turned_away = int(await said_by("faults.crowds.drips", *words))
    gone_s = monotonic() - began_s
    cpu_s = cpu_seconds(yard.service) - cpu_before_s
    await yard.meter.has(20)
    return {
        "attackers": count,
        "turned_away_at_once": turned_away,
        "gone_after_s": gone_s,
        "service_cpu_s": cpu_s,
        "others_p99_ms_before": before_ms,
        "others_p99_ms": yard.meter.p99_ms(),
    }


async def crowd_meets_the_cap(yard: Yard, *, count: int = 600) -> Figures:
    """N15: more connections than there are descriptors (256 here): who is in works on."""
    await yard.measured()
    before_ms = yard.meter.p99_ms()
    yard.meter.start_anew()
    cpu_before_s, began_s = cpu_seconds(yard.service), monotonic()
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.setblocking(False)
        await asyncio.gather(*(_knock(yard, sock) for sock in sockets), return_exceptions=True)
        await yard.meter.has(100)
        cpu_percent = 100 * (cpu_seconds(yard.service) - cpu_before_s) / (monotonic() - began_s)
        most = max(len(files) for files in yard.files_of_workers())
    assert most <= 256 * 9 // 10, f"{most} descriptors are taken of 256"
    released_s = monotonic()
    async with asyncio.timeout(20):
        while not await _is_served(yard):
            pass
    return {
        "descriptors_most": most,
        "service_cpu_percent": cpu_percent,
        "served_again_after_s": monotonic() - released_s,
        "others_p99_ms_before": before_ms,
        "others_p99_ms": yard.meter.p99_ms(),
    }


async def _knock(yard: Yard, sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", yard.service.port))
    await loop.sock_sendall(sock, PREAMBLE + INIT)


async def _is_served(yard: Yard) -> bool:
    try:
        async with raw_session(yard.service.port):
            return True
    except (AssertionError, OSError):
        return False
