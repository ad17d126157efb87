"""What a worker asks of its interpreter and of the kernel before it serves."""

import gc

OOM_SCORE = "500"


def settle_garbage_collector() -> None:
    """Never walk what was there at the start again, and walk what jobs leave behind seldom.

    The window keeps some 100,000 ended jobs: a full collection would walk them all and hold up
    everything for as long, and it would find nothing, because jobs make no cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 1_000)


def raise_oom_score() -> None:
    """Let the kernel, short of memory, kill a worker before the manager."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write(OOM_SCORE)
    except OSError:  # a system without it, or that forbids it
        return
