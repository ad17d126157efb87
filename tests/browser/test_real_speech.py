"""The page with the real engines: spoken English goes in, spoken Spanish comes out."""

import asyncio
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from browser.browser_harness import CHROMIUM, RATE, chromium, page_of
from live.service import PATIENCE_S, LiveService, started
from playwright.async_api import Page, expect
from supervised_service import place

from pointsman.engines import audio, synthesis
from pointsman.engines.abilities import available_abilities
from pointsman.engines.programs import is_installed

HERE = available_abilities()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(bool(HERE.missing), reason="; ".join(HERE.missing.values())),
    pytest.mark.skipif(not is_installed("flite"), reason="needs Debian's flite"),
]
expect.set_options(timeout=30_000)
SENTENCE = "where is the train station"


async def microphone_says(path: Path) -> Path:
    """Write what the false microphone plays: silence, the sentence, silence."""
    spoken = audio.resample(audio.read_wav(await synthesis.speak_english(SENTENCE)), RATE)
    silence = array("h", bytes(4 * RATE))
    path.write_bytes(audio.write_wav(audio.Sound(silence + spoken.samples + silence, RATE)))
    return path


@contextmanager
def usual_service() -> Iterator[LiveService]:
    """With heartbeats as usual: a recogniser keeps its node's loop waiting for seconds."""
    with place() as here:
        here.has_console = True
        with started(here, config="[nodes]\nresource_threshold_percent = 0\n") as service:
            yield service
            service.stop()


async def is_ready(service: LiveService) -> None:
    """Wait for the node."""
    while True:
        node = (await service.nodes()).get("engines")
        if node is not None and node.state == "ready":
            return
        await asyncio.sleep(0.05)


@asynccontextmanager
async def engines(service: LiveService) -> AsyncIterator[None]:
    """A node with the engines, in a process of its own."""
    words = ("node", "--engines", "speech", "--server", service.address, "--node-id", "engines")
    command = [sys.executable, "-m", "pointsman", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await asyncio.wait_for(is_ready(service), PATIENCE_S)
        yield
    finally:
        process.kill()
        process.wait()


WATCH = """() => {
  globalThis.shown = [];
  const look = () => shown.push(document.querySelector(".card .said")?.lastChild?.textContent);
  const what = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.body, what);
}"""


async def was_drawn_word_by_word(page: Page) -> None:
    """The page has shown what was recognised so far, before the whole sentence."""
    final = await page.locator(".card .said").first.locator("span").last.text_content()
    shown = [words for words in await page.evaluate("shown") if words]
    assert any("where" in words and words != final for words in shown), shown


async def has_come_through(page: Page) -> None:
    """The sentence was understood, and its translation can be read and heard."""
    card = page.locator(".card").first
    await expect(card.locator(".done")).to_contain_text("de tren")
    await expect(card.locator(".said")).to_contain_text("train station")
    await expect(card.locator(".way")).to_contain_text("done by engines")
    sound = card.get_by_label("The translation, spoken in Spanish")
    await expect(sound).to_be_visible()


async def test_english_comes_out_as_spoken_spanish_though_the_workers_die_while_it_is_spoken(
    tmp_path: Path,
) -> None:
    sound = await microphone_says(tmp_path / "voice.wav")
    with usual_service() as service:
        url = f"http://{service.address}/?src=en&tgt=es"
        async with (
            engines(service),
            chromium(sound) as browser,
            page_of(browser, url, microphone=True) as page,
        ):
            await page.evaluate(WATCH)
            await page.get_by_role("button", name="Speak").click()
            await page.locator(".card").first.wait_for()
            killed = service.kill("worker-0", "worker-1")
            await service.has_replaced(killed)
            await has_come_through(page)
            await was_drawn_word_by_word(page)
