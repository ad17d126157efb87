"""A real Chromium before a real service: pages in it, nodes behind it, each bounded and ended."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from live.commands import tls_place
from live.service import CONFIG, LiveService, started
from playwright.async_api import Browser, Page, async_playwright
from supervised_service import place, wait_until

from pointsman.engines import audio

TESTS = Path(__file__).parents[1]
PATIENCE_MS = 30_000
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")
ELSEWHERE = "pointsman.test"  # another name of this machine, which is no localhost
TLS = f"""
[tls]
enabled = true
host = "127.0.0.1"
port = 0
[web]
allowed_hosts = ["{ELSEWHERE}"]
"""
CONTROLS = {"button", "checkbox", "combobox", "link", "slider", "spinbutton", "textbox"}
FEW = 5  # any page of ours has more controls than that
# What the microphone hears: silence, somebody who speaks for a second, silence.
RATE = audio.RECOGNITION_RATE


def spoken_once(path: Path) -> Path:
    """Write what the false microphone plays, once."""
    silence = array("h", bytes(2 * RATE))
    voice = audio.read_wav(audio.tone(duration_s=1.0)).samples
    whole = audio.Sound(silence + voice + silence * 2, RATE)
    path.write_bytes(audio.write_wav(whole))
    return path


@contextmanager
def service_with_pages() -> Iterator[LiveService]:
    """A service with its console and a TLS port, which must leave nothing."""
    with place() as here:
        here.has_console = True
        config = CONFIG.replace("[jobs]", "[jobs]\nwait_none_s = 0.5") + TLS
        with started(here, config=config) as service:
            yield service
            service.stop()


def tls_port_and_pin(service: LiveService) -> tuple[int, str]:
    """Where the TLS port is, and the digest of its key in base64, as Chromium writes it, too."""
    place, pin = tls_place(service.process.text())
    return int(place.rpartition(":")[2]), pin.removeprefix("sha256:")


def new_token(service: LiveService) -> str:
    """A new client's token."""
    here = service.here
    command = [sys.executable, "-m", "pointsman", "tokens", "add", "--tenant", "acme", "--json"]
    command += ["--instance", here.instance, "--state-dir", str(here.state_dir)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return str(json.loads(made.stdout)["token"])


@asynccontextmanager
async def chromium(sound: Path, *more: str) -> AsyncIterator[Browser]:
    """Debian's Chromium without a window; its microphone plays a file once.

    `more` are further arguments.
    """
    arguments = [
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}%noloop",
        "--autoplay-policy=no-user-gesture-required",
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *more,
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def page_of(browser: Browser, url: str, *, microphone: bool = False) -> AsyncIterator[Page]:
    """A page in a context of its own, connected; no error of a script goes unseen.

    It may ask no other host for anything.
    """
    context = await browser.new_context(permissions=["microphone"] if microphone else [])
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    asked: set[str | None] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    try:
        await page.goto(url)
        await page.get_by_text("Connected", exact=True).wait_for()
        yield page
        assert errors == []
        assert asked <= {urlsplit(url).hostname, None}, "blobs have no host"
    finally:
        await context.close()


async def nameless_controls(page: Page) -> list[str]:
    """Roles of what can be operated and has no name that a screen reader could say."""
    client = await page.context.new_cdp_session(page)
    tree = await client.send("Accessibility.getFullAXTree")
    await client.detach()
    shown = [node for node in tree["nodes"] if not node.get("ignored")]
    found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in shown]
    assert len([role for role, _ in found if role in CONTROLS]) > FEW, found
    return [role for role, name in found if role in CONTROLS and not name.strip()]


class SpeakingNode:
    """A node as a process, which says what it does."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    async def says(self, line: str) -> None:
        """Wait until it says this next."""
        assert self.process.stdout is not None
        said = await asyncio.wait_for(
            asyncio.to_thread(self.process.stdout.readline), PATIENCE_MS / 1000
        )
        assert said.decode().strip() == line

    def kill(self) -> None:
        """As kill -9 does."""
        self.process.kill()
        wait_until(lambda: self.process.poll() is not None, "its end")


@asynccontextmanager
async def speaking_node(
    service: LiveService, node_id: str, tgt: str, *, gate: Path | None = None
) -> AsyncIterator[SpeakingNode]:
    """A node between English and `tgt` that is ready, and killed at the end."""
    words = (service.address, node_id, tgt, str(gate or ""))
    command = [sys.executable, "-m", "browser.speaking_node", *words]
    process = subprocess.Popen(command, cwd=TESTS, stdout=subprocess.PIPE)
    node = SpeakingNode(process)
    try:
        await node.says("ready")
        yield node
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
