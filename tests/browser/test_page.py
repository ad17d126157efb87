"""The page in a real browser: what people type, say and drop comes back, whatever dies."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

pytest.importorskip("playwright", reason="playwright is not installed: pip install playwright")

from browser.browser_harness import (
    CHROMIUM,
    ELSEWHERE,
    SpeakingNode,
    chromium,
    nameless_controls,
    new_token,
    page_of,
    service_with_pages,
    speaking_node,
    spoken_once,
    tls_port_and_pin,
)
from live.service import LiveService
from playwright.async_api import Browser, Page, expect

from pointsman.engines import audio

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed: apt-get install chromium"),
]
expect.set_options(timeout=30_000)


@pytest.fixture(scope="module")
def service() -> Iterator[LiveService]:
    with service_with_pages() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(
    tmp_path_factory: pytest.TempPathFactory, service: LiveService
) -> AsyncIterator[Browser]:
    """It finds this machine under another name, too, and believes the service's own key."""
    sound = spoken_once(tmp_path_factory.mktemp("sound") / "voice.wav")
    trusted = f"--ignore-certificate-errors-spki-list={tls_port_and_pin(service)[1]}"
    name = f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1"
    async with chromium(sound, trusted, name) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(service: LiveService) -> AsyncIterator[SpeakingNode]:
    """Between English and Spanish; a test that kills has nodes with a language of its own."""
    async with speaking_node(service, "desk", "es") as node:
        yield node


def url(service: LiveService, tgt: str = "es") -> str:
    return f"http://{service.address}/?src=en&tgt={tgt}"


async def type_in(page: Page, words: str) -> None:
    await page.get_by_label("What do you want to say?").fill(words)
    await page.get_by_role("button", name="Translate").click()


async def test_typed_words_are_read_and_heard_and_their_way_is_shown(
    service: LiveService, browser: Browser, desk: SpeakingNode
) -> None:
    async with page_of(browser, url(service)) as page:
        await expect(page.get_by_label("From", exact=True)).to_have_value("en")
        await type_in(page, "good morning")
        card = page.locator(".card").first
        await expect(card.locator(".done")).to_have_text("GOOD MORNING")
        await expect(card.locator(".way")).to_contain_text("done by desk")
        await expect(card.locator(".way")).to_contain_text("kept in the journal")
        await expect(card.get_by_label("The translation, spoken in Spanish")).to_be_visible()
        await expect(card.locator(".way")).to_contain_text("heard aloud")
        await expect(page.locator("#news")).to_have_text("Spanish: GOOD MORNING")
        await page.get_by_role("button", name="Swap the languages").click()
        await page.get_by_label("What do you want to say?").press_sequentially("buenos días")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("What do you want to say?")).to_be_focused()
        await expect(page.locator(".card").first).to_contain_text("You, Spanish: buenos días")
        await expect(page.locator(".card .done").first).to_have_text("BUENOS DÍAS")
        assert await nameless_controls(page) == []


async def test_a_sound_file_is_heard_and_translated(
    service: LiveService, browser: Browser, desk: SpeakingNode, tmp_path: Path
) -> None:
    sound = tmp_path / "hello.wav"
    sound.write_bytes(audio.tone(duration_s=2.0))
    no_sound = tmp_path / "letter.wav"
    no_sound.write_text("dear reader")
    async with page_of(browser, url(service)) as page:
        await page.get_by_label("Sound file").set_input_files(sound)
        card = page.locator(".card").first
        await expect(card.locator(".done")).to_have_text("2.0 SECONDS OF SOUND")
        await expect(card.locator(".said")).to_contain_text("2.0 seconds of sound")
        await expect(card.locator(".way")).to_contain_text("understood")
        await page.get_by_label("Sound file").set_input_files(no_sound)
        await expect(page.get_by_role("alert")).to_contain_text("letter.wav is no sound")


EARLY = """() => {
  globalThis.early = [];
  const look = () => {
    const [said, way] = [".said", ".way"].map((part) => document.querySelector(`.card ${part}`));
    if (said && !way.textContent.includes("has ended")) early.push(said.lastChild.textContent);
  };
  const what = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.body, what);
}"""


async def test_what_is_said_into_the_microphone_ends_with_a_pause_and_is_translated(
    service: LiveService, browser: Browser, desk: SpeakingNode
) -> None:
    async with page_of(browser, url(service), microphone=True) as page:
        await page.evaluate(EARLY)
        await page.get_by_role("button", name="Speak").click()
        await expect(page.locator("#listening-words")).to_contain_text("Listening")
        await expect(page.locator(".card .done").first).to_contain_text("SECONDS OF SOUND")
        await expect(page.locator(".card .way").first).to_contain_text("the service hears you")
        await expect(page.locator(".card .way").first).to_contain_text("kept in memory")
        early = await page.evaluate("early")
        assert any("seconds of sound" in words for words in early), "recognised while it is spoken"
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#listening")).to_be_hidden()


async def test_by_a_name_over_tls_the_page_has_the_microphone_once_it_was_given_its_token(
    service: LiveService, browser: Browser, desk: SpeakingNode
) -> None:
    token = await asyncio.to_thread(new_token, service)
    context = await browser.new_context(permissions=["microphone"])
    try:
        page = await context.new_page()
        port, _ = tls_port_and_pin(service)
        await page.goto(f"https://{ELSEWHERE}:{port}/?src=en&tgt=es")
        assert await page.evaluate("isSecureContext && location.hostname") == ELSEWHERE
        asked = page.get_by_label("This service asks for a token")
        await expect(page.locator("#state")).to_have_text("A token is needed")
        await expect(page.get_by_role("button", name="Translate")).to_be_hidden()
        await asked.fill("pm_nonsense")
        await asked.press("Enter")
        await expect(page.get_by_role("alert").first).to_contain_text("That token is not taken")
        await asked.fill(token)
        await asked.press("Enter")
        await expect(page.get_by_text("Connected", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Speak").click()
        await expect(page.locator(".card .done").first).to_contain_text("SECONDS OF SOUND")
    finally:
        await context.close()


async def test_without_tls_and_by_a_name_the_page_says_what_the_microphone_needs(
    service: LiveService, browser: Browser
) -> None:
    url = f"http://{ELSEWHERE}:{service.port}/"
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(url)
        await page.get_by_role("button", name="Speak").click()
        await expect(page.get_by_role("alert")).to_contain_text("only to pages on localhost or")
    finally:
        await context.close()


async def test_a_microphone_that_is_not_allowed_is_explained(
    service: LiveService, browser: Browser
) -> None:
    async with page_of(browser, url(service)) as page:
        await page.get_by_role("button", name="Speak").click()
        await expect(page.get_by_role("alert")).to_contain_text("The microphone is blocked")
        await expect(page.get_by_role("button", name="Speak")).to_be_enabled()
        await page.evaluate("delete Navigator.prototype.mediaDevices")
        await page.get_by_role("button", name="Speak").click()
        await expect(page.get_by_role("alert")).to_contain_text("offers no microphone")


async def test_when_its_node_is_killed_while_somebody_speaks_another_one_does_it(
    service: LiveService, browser: Browser, tmp_path: Path
) -> None:
    async with (
        speaking_node(service, "first", "fr", gate=tmp_path / "never") as first,
        page_of(browser, url(service, "fr"), microphone=True) as page,
    ):
        await type_in(page, "hold the line")
        await first.says("working")
        await page.get_by_role("button", name="Speak").click()
        await first.says("working")  # on what is being spoken
        async with speaking_node(service, "second", "fr"):
            first.kill()
            spoken, typed = (page.locator(".card").nth(at) for at in range(2))
            await expect(typed.locator(".done")).to_have_text("HOLD THE LINE")
            await expect(typed.locator(".way")).to_contain_text("done by second")
            await expect(spoken.locator(".done")).to_contain_text("SECONDS OF SOUND")
            await expect(spoken.locator(".way")).to_contain_text("done by second")


# Keeps a promise once the page has said so, for however short a time.
LOST = """() => {
  const line = document.querySelector("#state");
  globalThis.lost = new Promise((keep) => {
    const look = () => line.textContent.startsWith("Connection lost") && keep();
    new MutationObserver(look).observe(line, { childList: true });
  });
}"""


async def test_when_its_worker_is_killed_the_page_comes_back_and_nothing_is_lost(
    service: LiveService, browser: Browser, tmp_path: Path
) -> None:
    gate = tmp_path / "go"
    async with (
        speaking_node(service, "slow", "de", gate=gate) as node,
        page_of(browser, url(service, "de")) as page,
    ):
        await type_in(page, "see you soon")
        await node.says("working")
        await page.evaluate(LOST)
        killed = service.kill("worker-0", "worker-1")
        await asyncio.wait_for(page.evaluate("lost"), timeout=30)
        await type_in(page, "and this meanwhile")
        await service.has_replaced(killed)
        await expect(page.locator("#state")).to_have_text("Connected")
        gate.touch()
        await expect(page.locator(".done")).to_have_text(["AND THIS MEANWHILE", "SEE YOU SOON"])


async def test_a_pair_that_nobody_serves_is_refused_with_the_reason_and_what_would_help(
    service: LiveService, browser: Browser, desk: SpeakingNode
) -> None:
    async with page_of(browser, url(service)) as page:
        await page.get_by_label("To", exact=True).select_option("other")
        await page.get_by_label("To, as a code").fill("ja")
        await expect(page.locator("#fleet")).to_contain_text(
            "No node translates English to Japanese now"
        )
        await type_in(page, "good evening")
        card = page.locator(".card").first
        await expect(card.locator("[data-code=NO_AVAILABLE_NODE]")).to_be_visible()
        await expect(card.locator(".fix")).to_contain_text("What would help:")


async def test_two_people_in_a_room_hear_each_other_in_their_own_language(
    service: LiveService, browser: Browser, desk: SpeakingNode
) -> None:
    async with page_of(browser, url(service)) as ann:
        await ann.get_by_role("button", name="Talk with somebody").click()
        await expect(ann.locator("#members")).to_contain_text("Nobody else is here yet")
        link = await ann.get_by_label("The link for the other person").input_value()
        async with page_of(browser, link) as luis:
            await expect(luis.get_by_label("From", exact=True)).to_have_value("es")
            await expect(luis.locator("#members")).to_have_text("The other person speaks English.")
            await expect(ann.locator("#members")).to_have_text("The other person speaks Spanish.")
            await type_in(ann, "good morning")
            card = luis.locator(".card").first
            await expect(card.locator(".said")).to_have_text(
                "The other person, English: good morning"
            )
            await expect(card.locator(".done")).to_have_text("GOOD MORNING")
            await expect(card.get_by_label("The translation, spoken in Spanish")).to_be_visible()
            way = ann.locator(".card .way").first
            await expect(way).to_contain_text("the other person hears it")
            await expect(way).to_contain_text("the other person has heard it")
            await type_in(luis, "hola")
            await expect(ann.locator(".card .done").first).to_have_text("HOLA")
            await luis.get_by_role("button", name="Leave").click()
            await expect(ann.locator("#members")).to_contain_text("Nobody else is here yet")


async def test_after_its_worker_was_killed_a_room_waits_for_who_is_not_back_yet(
    service: LiveService, browser: Browser, desk: SpeakingNode
) -> None:
    async with page_of(browser, url(service)) as ann:
        await ann.get_by_role("button", name="Talk with somebody").click()
        link = await ann.get_by_label("The link for the other person").input_value()
        async with page_of(browser, link) as luis:
            await expect(luis.locator("#members")).to_have_text("The other person speaks English.")
        killed = service.kill("worker-0", "worker-1")
        await service.has_replaced(killed)
        await expect(ann.locator("#members")).to_contain_text("what you say waits for them")
        await type_in(ann, "are you back?")
        async with page_of(browser, link) as luis:
            await expect(luis.locator(".card .done").first).to_have_text("ARE YOU BACK?")
        await expect(ann.locator(".card .done").first).to_have_text("ARE YOU BACK?")


FAILED = """async () => {
  const { Travel } = await import("./travel.js");
  const cards = [{ who: "The other person" }, {}].map((who) => {
    const card = new Travel({ src: "en", tgt: "es", words: "", ...who }, () => {});
    card.event({ event: "ERROR", error: { code: "NO_AVAILABLE_NODE", message: "none" } });
    return [card.isEnded, card.element.textContent.includes("No node of the fleet")];
  });
  return cards;
}"""


async def test_what_another_person_said_in_vain_does_not_look_as_if_it_were_to_come(
    service: LiveService, browser: Browser
) -> None:
    async with page_of(browser, url(service)) as page:
        theirs, ours = await page.evaluate(FAILED)
    assert theirs == [True, True]
    assert ours == [False, False], "that is told by its answer"
