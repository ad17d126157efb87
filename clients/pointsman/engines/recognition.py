"""Recognition: English speech to text with PocketSphinx and the model that its wheel carries.

A decoder takes half a second to load and is not shared between threads, so a few threads of our
own keep one each.  Decoding lets other threads run, but for its second pass over the words, which
held the interpreter for 25 ms per second of sound: long enough to delay a node's heartbeats.  The
pass is left out; on test sentences it mended as much as it spoiled.
"""

import asyncio
import importlib.util
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

from pointsman.engines.audio import RECOGNITION_RATE, samples_of

LANGUAGES = ("en",)
DECODERS_MAX = 4

# Below 1/160 of full scale (-44 dB) there is no voice.  In silence the model hears "oh".
SILENCE_PEAK = 200

_own = threading.local()


def is_installed() -> bool:
    return importlib.util.find_spec("pocketsphinx") is not None


def recognise(pcm: bytes) -> str:
    """Return what was said in 16 kHz mono PCM16, "" when nothing was; blocks; from any thread."""
    samples = samples_of(pcm)
    if max(samples, default=0) - min(samples, default=0) < 2 * SILENCE_PEAK:
        return ""
    decoder = _decoder()
    decoder.start_utt()
    try:
        decoder.process_raw(pcm, full_utt=True)
    finally:
        decoder.end_utt()
    heard = decoder.hyp()
    return str(heard.hypstr) if heard else ""


async def recognise_in_thread(pcm: bytes) -> str:
    """Like recognise, without blocking: at most DECODERS_MAX at a time, the others wait."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), recognise, pcm)


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
