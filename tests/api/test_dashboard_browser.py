"""The dashboard in a real browser (Debian's chromium), while a real server is under load."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Playwright, Route, expect, sync_playwright

from judge_service.api import create_app
from judge_service.backends.scripted import Scripted
from judge_service.errors import Unavailable
from judge_service.settings import LimitSettings, LogSettings, PriceSettings, Settings
from judge_service.values import Completion, Prompt, Sample, Usage

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
DESKTOP = {"width": 1360, "height": 1000}
ARTEFACTS = Path(os.environ.get("JUDGE_TEST_ARTEFACTS", ".artefacts"))
HOSTILE = "<img src=x onerror='window.hacked=1'>\u202e" + "w" * 200

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="there is no chromium here"
)

RUBRIC = """
name = "helpfulness"
[[criteria]]
name = "helpful"
description = "Does it help?"
[[criteria]]
name = "duration"
description = "Is it short?"
"""


def verdict(prompt: Prompt) -> Completion | Exception:
    """Fails now and then, answers nonsense to some, and gives all kinds of scores."""
    number = int(prompt.question.response.rpartition(" ")[2])
    if number % 40 == 7:
        return Unavailable("down")
    score = number % 11 / 10
    text = "no idea" if number % 25 == 3 else f'{{"helpful": {score}, "duration": {score}}}'
    return Completion(text=text, usage=Usage(300, 20, 0, 0, 1), model="amazon.nova-lite-v1:0")


class Server:
    """A service on a socket, in a thread, that judges about 200 samples a second."""

    def __init__(self, rubric: Path) -> None:
        settings = Settings(
            backend="bedrock",
            model="amazon.nova-lite-v1:0",
            rubric=str(rubric),
            answer="schema",
            limits=LimitSettings(requests_per_minute=60_000, tokens_per_minute=6_000_000),
            prices=PriceSettings(
                input_usd_per_million_tokens=0.06, output_usd_per_million_tokens=0.24
            ),
            logs=LogSettings(enabled=False),
        )
        judge = Scripted(verdict, model="amazon.nova-lite-v1:0", latency_s=0.02)
        self.app = create_app(settings, environ={}, model=judge)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self._uvicorn = uvicorn.Server(uvicorn.Config(self.app, log_level="warning"))
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._uvicorn.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(10)

    async def _serve(self) -> None:
        load = asyncio.create_task(self._load())
        await self._uvicorn.serve(sockets=[self.socket])
        load.cancel()
        await asyncio.gather(load, return_exceptions=True)

    async def _load(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(0.05)
            if not self._uvicorn.started or self._uvicorn.should_exit:
                continue
            numbers, number = range(number, number + 10), number + 10
            await self.app.state.judge.score(
                [
                    Sample(
                        id=f"{HOSTILE}{n}" if n % 22 == 0 else f"row-{n}",
                        response=f"answer {n}",
                        reference="r",
                    )
                    for n in numbers
                ]
            )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    (rubric := tmp_path_factory.mktemp("rubric") / "rubric.toml").write_text(RUBRIC)
    with Server(rubric) as server:
        yield server


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    assert CHROMIUM, "CI installs chromium"
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
    yield browser
    browser.close()


class Watched:
    """A page, and what went wrong on it."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.problems: list[str] = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self._note(request.url, address))
        page.goto(f"{address}/dashboard")
        expect(page.locator("#status")).to_contain_text("live")

    def _note(self, url: str, address: str) -> None:
        if not url.startswith((address, "data:")):
            self.problems.append(f"asked {url}")


@contextlib.contextmanager
def looking(browser: Browser, server: Server, **context: Any) -> Iterator[Page]:
    """A page that must have no console message, no error and no request to elsewhere at its end."""
    opened = browser.new_context(**context)
    watched = Watched(opened.new_page(), server.address)
    yield watched.page
    assert watched.problems == []
    opened.close()


def updates(page: Page) -> int:
    return int(page.evaluate("Number(document.body.dataset.updates)"))


def test_it_opens_and_updates_while_load_runs(browser: Browser, server: Server) -> None:
    with looking(browser, server) as page:
        before, graded = updates(page), page.locator("#rate-hint").inner_text()
        for number in (before, before + 1):
            expect(page.locator("body")).not_to_have_attribute("data-updates", str(number))

        assert page.locator("#rate-hint").inner_text() != graded
        for tile in ("rate", "quota", "unscored", "reward", "cost"):
            expect(page.locator(f"#{tile}")).to_have_text(re.compile("[1-9]"))
        expect(page.locator("#flight")).to_have_text(re.compile(r"^\d"))
        assert "binding" in page.locator("#quotas").inner_text()
        assert "unparseable" in page.locator("#reasons").inner_text()
        assert "unavailable, tried again" in page.locator("#retries").inner_text()
        assert "closed" in page.locator("#targets").inner_text()
        expect(page.locator("#slowest tbody tr")).not_to_have_count(0)


def test_runs_that_wait_for_the_judge_are_told_of_above_all_else(
    browser: Browser, server: Server
) -> None:
    waiting: dict[str, int] = {}

    def answer(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json={**reply.json(), "waiting_runs": waiting})

    with looking(browser, server) as page:
        expect(page.locator("#waits")).to_be_hidden()
        page.route("**/dashboard/data", answer)
        waiting["quota_exhausted"] = 1
        expect(page.locator("#waits")).to_contain_text(
            "One run waits because the judge cannot be asked (quota exhausted)"
        )
        expect(page.locator("#waits")).to_be_visible()
        waiting["unavailable"] = 2
        expect(page.locator("#waits")).to_contain_text("3 runs wait")
        waiting.clear()
        expect(page.locator("#waits")).to_be_hidden()
        page.unroute("**/dashboard/data")


def test_a_hostile_id_is_text_and_nothing_else(browser: Browser, server: Server) -> None:
    with looking(browser, server) as page:
        expect(page.locator("#lowest")).to_contain_text("<img")

        assert page.locator("img").count() == 0
        assert page.evaluate("window.hacked") is None
        assert "\u202e" not in page.locator("body").inner_text()


def test_the_policy_of_the_page_lets_no_other_script_in(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.goto(f"{server.address}/dashboard")

    outcome = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener("securitypolicyviolation", () => done("refused"));
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            setTimeout(() => done("ran"), 1000);
        })"""
    )

    assert outcome == "refused"
    assert page.evaluate("window.hacked") is None
    page.close()


FOCUSED = """() => {
    const one = document.activeElement;
    const outline = getComputedStyle(one);
    const name = one.id || one.getAttribute("aria-label") || one.textContent.trim();
    return [name, outline.outlineStyle !== "none" && parseFloat(outline.outlineWidth) >= 2];
}"""


def test_the_keyboard_reaches_every_control_in_order_and_shows_where_it_is(
    browser: Browser, server: Server
) -> None:
    with looking(browser, server) as page:
        reached = []
        for _ in range(12):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(FOCUSED))

    assert [name for name, _ in reached] == [
        "Skip to the figures",
        "pause",
        "theme",
        "Evaluations a second, use the arrow keys",
        "Table of Evaluations a second",
        "Where the time of a call goes, use the arrow keys",
        "Table of Where the time of a call goes",
        "criterion",
        "Rewards, last five minutes, use the arrow keys",
        "Table of Rewards, last five minutes",
        "Rewards over time, use the arrow keys",
        "Table of Rewards over time",
    ]
    assert all(is_seen for _, is_seen in reached)


def test_every_control_works_without_a_mouse(browser: Browser, server: Server) -> None:
    with looking(browser, server) as page:
        page.focus("#pause")
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_have_text("paused")
        paused_at = updates(page)

        chart = page.get_by_role("slider", name="Evaluations a second")
        chart.focus()
        page.keyboard.press("ArrowLeft")
        expect(chart).to_have_attribute("aria-valuetext", re.compile("^2 s ago: graded .*unscored"))
        page.keyboard.press("Home")
        expect(chart).to_have_attribute("aria-valuenow", "0")
        page.keyboard.press("Escape")
        expect(chart).to_have_attribute("aria-valuetext", re.compile("a second now"))

        page.focus("#criterion")
        page.keyboard.press("ArrowDown")
        assert page.locator("#criterion").input_value() == "helpful"

        page.get_by_text("Table of Rewards over time").focus()
        page.keyboard.press("Enter")
        table = page.locator("#card-heat table")
        expect(table).to_be_visible()
        assert table.locator("tbody tr").count() == 15

        assert updates(page) == paused_at
        page.focus("#pause")
        page.keyboard.press("Space")
        expect(page.locator("body")).not_to_have_attribute("data-updates", str(paused_at))


def test_each_chart_has_its_numbers_as_text(browser: Browser, server: Server) -> None:
    with looking(browser, server) as page:
        for chart in page.get_by_role("slider").all():
            assert len(str(chart.get_attribute("aria-valuetext"))) > 10
        for summary in page.locator("summary").all():
            summary.click()
        tables = page.locator(".scroll table")
        expect(tables).to_have_count(4)
        for table in tables.all():
            assert table.locator("th[scope=col]").count() >= 3
            assert table.locator("tbody tr").count() >= 11


def background(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_it_is_light_or_dark_as_wished_and_by_its_switch(browser: Browser, server: Server) -> None:
    light, dark = "rgb(244, 245, 247)", "rgb(13, 17, 23)"
    with looking(browser, server, color_scheme="light", viewport=DESKTOP) as page:
        assert background(page) == light
        expect(page.locator("#slowest")).to_contain_text("row-")
        keep(page, "light")
        page.emulate_media(color_scheme="dark")
        assert background(page) == dark
        keep(page, "dark")

        switch = page.locator("#theme")
        switch.click()
        assert (switch.inner_text(), background(page)) == ("Theme: light", light)
        page.emulate_media(color_scheme="light")
        switch.click()
        assert (switch.inner_text(), background(page)) == ("Theme: dark", dark)
        page.reload()
        assert background(page) == dark, "the choice is kept"


def test_it_is_readable_on_a_phone(browser: Browser, server: Server) -> None:
    phone = {"width": 390, "height": 844}
    with looking(browser, server, viewport=phone, has_touch=True, is_mobile=True) as page:
        expect(page.locator("#lowest")).to_contain_text("wwww")
        for summary in page.locator("summary").all():
            summary.tap()
        keep(page, "phone")

        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        small = "[...document.querySelectorAll('body *')].filter((one) => one.children.length === 0"
        small += " && one.textContent.trim() && one.checkVisibility()"
        small += " && parseFloat(getComputedStyle(one).fontSize) < 11).length"
        assert page.evaluate(small) == 0
        for button in page.get_by_role("button").all():
            assert button.bounding_box()["height"] >= 32  # type: ignore[index]


def test_a_server_that_has_gone_is_told_of_and_comes_back(browser: Browser, server: Server) -> None:
    page = browser.new_page()
    page.clock.install()
    page.goto(f"{server.address}/dashboard")
    expect(page.locator("#status")).to_contain_text("live")

    page.route("**/dashboard/data", lambda route: route.abort())
    page.clock.fast_forward(1000)
    expect(page.locator("#status")).to_contain_text("no answer since")
    page.unroute("**/dashboard/data")
    page.clock.fast_forward(5000)

    expect(page.locator("#status")).to_contain_text("live")
    page.close()


def keep(page: Page, name: str) -> None:
    """A picture for a person to look at."""
    page.screenshot(path=ARTEFACTS / f"dashboard-{name}.png", full_page=True)
