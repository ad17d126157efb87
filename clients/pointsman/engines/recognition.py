"""Recognition: English speech to text with PocketSphinx and the model that its wheel carries.

A decoder takes half a second to load and is not shared between threads, so a few threads of our
own keep one each.  Decoding lets other threads run, but for its second pass over the words, which
held the interpreter for 25 ms per second of sound: long enough to delay a node's heartbeats.  The
pass is left out; on test sentences it mended as much as it spoiled.

A sound is decoded slice by slice: after each one the words so far are told, others get their turn,
and who has given up is noticed.
"""

import asyncio
import importlib.util
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from pointsman.engines.audio import RECOGNITION_RATE, samples_of

LANGUAGES = ("en",)
DECODERS_MAX = 4

# Below 1/160 of full scale (-44 dB) there is no voice.  In silence the model hears "oh".
SILENCE_PEAK = 200

# 300 ms of sound: as often as somebody who reads along wants to see more.
SLICE_BYTES = 2 * RECOGNITION_RATE * 3 // 10

_own = threading.local()


def is_installed() -> bool:
    return importlib.util.find_spec("pocketsphinx") is not None


def recognise(pcm: bytes, so_far: Callable[[str], bool] = lambda _: True) -> str:
    """Return what was said in 16 kHz mono PCM16, "" when nothing was; blocks; from any thread.

    `so_far` is told the words after every slice; once it returns False nobody wants them any more,
    and what is there is returned.
    """
    samples = samples_of(pcm)
    if max(samples, default=0) - min(samples, default=0) < 2 * SILENCE_PEAK:
        return ""
    decoder = _decoder()
    decoder.start_utt()
    try:
        for at in range(0, len(pcm), SLICE_BYTES):
            decoder.process_raw(pcm[at : at + SLICE_BYTES])
            if not so_far(_words(decoder)):
                break
    finally:
        decoder.end_utt()
    return _words(decoder)


def _words(decoder: Any) -> str:
    heard = decoder.hyp()
    return str(heard.hypstr) if heard else ""


async def recognise_in_thread(pcm: bytes, tell: Callable[[str], None] | None = None) -> str:
    """Like recognise, without blocking: at most DECODERS_MAX at a time, the others wait.

    `tell` gets the words so far, on the running loop, each time that they have changed.  When the
    awaiting task is cancelled, the thread stops after its slice.
    """
    loop = asyncio.get_running_loop()
    is_given_up = threading.Event()
    told = ""

    def so_far(words: str) -> bool:
        nonlocal told
        if tell is not None and words != told and not is_given_up.is_set():
            told = words
            loop.call_soon_threadsafe(tell, words)
        return not is_given_up.is_set()

    try:
        return await loop.run_in_executor(_threads(), recognise, pcm, so_far)
    finally:
        is_given_up.set()


async def load() -> None:
    """Load one decoder ahead, so that the first job need not wait for it."""
    await asyncio.get_running_loop().run_in_executor(_threads(), _decoder)


def _decoder() -> Any:
    """Return this thread's decoder, loading it at first use."""
    if not hasattr(_own, "decoder"):
        from pocketsphinx import Decoder  # an optional package, and slow to import

        _own.decoder = Decoder(loglevel="FATAL", samprate=RECOGNITION_RATE, fwdflat=False)
    return _own.decoder


@cache
def _threads() -> ThreadPoolExecutor:
    count = min(DECODERS_MAX, os.cpu_count() or 1)
    return ThreadPoolExecutor(max_workers=count, thread_name_prefix="recognise")
