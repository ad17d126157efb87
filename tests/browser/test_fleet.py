"""The dashboard in a real browser: with three real nodes, with three thousand, and with nobody."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from browser.browser_harness import (
    CHROMIUM,
    PATIENCE_MS,
    chromium,
    service_with_pages,
    speaking_node,
    spoken_once,
)
from browser.fed_fleet import FedConsole, fed_console
from playwright.async_api import Browser, Page, expect
from supervised_service import place

from pointsman import JobFailed, JobRefused, connect
from pointsman_shm.memory.rows import NodeState

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: apt-get install chromium"),
]
expect.set_options(timeout=30_000)

NODES = 3_000
PHONE = {"width": 360, "height": 740}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium(spoken_once(tmp_path_factory.mktemp("sound") / "voice.wav")) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def console() -> AsyncIterator[FedConsole]:
    with place() as here:
        async with fed_console(here, NODES) as started:
            yield started


@asynccontextmanager
async def fleet_page(
    browser: Browser, address: str, viewport: dict[str, int] | None = None
) -> AsyncIterator[Page]:
    """The dashboard, live; it asks no other host, and no error of a script goes unseen."""
    size = viewport or {"width": 1280, "height": 800}
    context = await browser.new_context(viewport={"width": size["width"], "height": size["height"]})
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    errors: list[str] = []
    elsewhere: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith((f"http://{address}/", "data:"))
            else elsewhere.append(asked.url)
        ),
    )
    try:
        await page.goto(f"http://{address}/fleet")
        await expect(page.locator("#state")).to_contain_text("Live")
        yield page
        assert [text for text in errors if "net::" not in text] == []
        assert elsewhere == []
    finally:
        await context.close()


async def test_three_thousand_nodes_are_cells_and_pages_of_a_table(
    browser: Browser, console: FedConsole
) -> None:
    async with fleet_page(browser, console.address) as page:
        await expect(page.locator("#nodes-place")).to_have_text("1 to 25 of 3,000")
        ready = console.fleet.states.count(NodeState.READY)
        grid = page.get_by_role("img", name="Every node as a cell")
        await expect(grid).to_be_visible()
        paused = sum(
            row % 61 == 60 and state is NodeState.READY
            for row, state in enumerate(console.fleet.states)
        )
        await expect(page.locator("#legend")).to_contain_text(f"{ready - paused:,} ready")
        await expect(page.locator("#legend")).to_contain_text("silent")
        assert await page.locator("#nodes tbody tr").count() == 25
        await page.get_by_role("button", name="Next").click()
        await expect(page.locator("#nodes-place")).to_have_text("26 to 50 of 3,000")
        await page.get_by_role("searchbox", name="Find").fill("pc-2999")
        await expect(page.locator("#nodes tbody th")).to_have_text(["pc-2999"])
        await page.get_by_role("searchbox", name="Find").fill("")
        await page.get_by_role("combobox", name="State").select_option("suspect")
        await expect(page.locator("#nodes tbody tr").first).to_contain_text("s ago")


async def test_the_table_is_sorted_by_keyboard_and_says_so(
    browser: Browser, console: FedConsole
) -> None:
    async with fleet_page(browser, console.address) as page:
        await expect(page.locator("#nodes tbody th").first).to_have_text("pc-1")
        sort = page.get_by_role("button", name="Node", exact=True)
        await sort.focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("#nodes thead th").first).to_have_attribute(
            "aria-sort", "descending"
        )
        await expect(page.locator("#nodes tbody th").first).to_have_text("pc-3000")
        await expect(sort).to_be_focused()


async def test_coverage_is_a_matrix_that_can_be_filtered(
    browser: Browser, console: FedConsole
) -> None:
    async with fleet_page(browser, console.address) as page:
        await expect(page.locator("#coverage thead th")).to_have_count(10)
        await expect(page.locator("#coverage .good").first).to_be_visible()
        await page.get_by_role("searchbox", name="Languages").fill("japanese")
        await expect(page.locator("#coverage tbody tr").filter(has_text="ja").last).to_be_visible()
        await page.get_by_label("Only what hangs on one node").check()
        await expect(page.locator("#coverage .good")).to_have_count(0)
        await page.get_by_role("searchbox", name="Languages").fill("klingon")
        await expect(page.locator("#coverage-note")).to_have_text("No pair is like that.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_is_wider_than_a_phone(
    browser: Browser, console: FedConsole, scheme: str
) -> None:
    async with fleet_page(browser, console.address, PHONE) as page:
        await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        await expect(page.locator("#nodes-place")).to_contain_text("of 3,000")
        await expect(page.locator("#coverage .good").first).to_be_attached()
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_a_stopped_service_is_shown_as_old_and_comes_back(
    browser: Browser, console: FedConsole
) -> None:
    async with fleet_page(browser, console.address) as page:
        await page.clock.install()
        await expect(page.locator("#nodes-place")).to_contain_text("of 3,000")
        os.kill(console.pid, signal.SIGSTOP)
        try:
            await page.clock.fast_forward(9_000)
            await expect(page.locator("#trouble")).to_contain_text("the service says nothing")
            await expect(page.locator("#main")).to_have_class("old")
        finally:
            os.kill(console.pid, signal.SIGCONT)
        await page.clock.resume()
        await expect(page.locator("#state")).to_contain_text("Live")
        await expect(page.locator("#trouble")).to_be_hidden()
        await expect(page.locator("#nodes-place")).to_contain_text("of 3,000")


async def test_three_real_nodes_their_work_and_why_it_went_where(browser: Browser) -> None:
    with service_with_pages() as service:
        async with AsyncExitStack() as stack:
            for node_id, tgt in (("studio", "es"), ("desk", "es"), ("attic", "fr")):
                await stack.enter_async_context(speaking_node(service, node_id, tgt))
            session = await stack.enter_async_context(connect(service.address, src="en", tgt="es"))
            other = await stack.enter_async_context(connect(service.address, src="en", tgt="ja"))
            page = await stack.enter_async_context(fleet_page(browser, service.address))
            await expect(page.locator("#nodes tbody th")).to_have_text(["attic", "desk", "studio"])
            await session.submit("a secret sentence", services=["nmt"])
            with pytest.raises((JobRefused, JobFailed)):
                await other.submit("and another", services=["nmt"])
            refused = page.locator("#decisions tr", has_text="nobody translates that pair")
            await expect(refused).to_be_visible()
            placed = page.locator("#decisions tbody tr", has_text="en → es").first
            await placed.get_by_role("button").click()
            why = page.get_by_role("dialog", name="Why")
            await expect(why).to_contain_text("got it, found in pools")
            await page.keyboard.press("Escape")
            await expect(why).to_be_hidden()
            await expect(page.locator("#reasons")).to_contain_text("nobody translates that pair")
            await expect(page.locator("#coverage .weak").first).to_be_visible()
            assert "secret" not in await page.content()
