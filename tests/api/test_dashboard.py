"""The dashboard without a browser: its numbers, its policy, its colours."""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from judge_service.api import create_app
from judge_service.api.dashboard import Panel
from judge_service.backends.scripted import Scripted
from judge_service.settings import LimitSettings, ServiceSettings, Settings
from judge_service.telemetry.window import Window
from judge_service.telemetry.workers import Workers
from judge_service.values import Sample

PAGE = Path(__file__).parents[2] / "judge_service" / "api" / "dashboard.html"


@asynccontextmanager
async def serving(
    settings: Settings, environ: dict[str, str] | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings, environ=environ or {}, model=Scripted("0.5"))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://judge") as client:
            client.judge = app.state.judge  # type: ignore[attr-defined]
            yield client


def judged_by_nova(**sections: object) -> Settings:
    return Settings(backend="bedrock", model="amazon.nova-lite-v1:0", **sections)  # type: ignore[arg-type]


async def test_the_numbers_are_of_what_the_service_did() -> None:
    limits = LimitSettings(requests_per_minute=600)
    async with serving(judged_by_nova(limits=limits)) as client:
        samples = [Sample(id=n, response=f"yes {n}", reference="yes") for n in range(5)]
        await client.judge.score([*samples, Sample(id="none")])  # type: ignore[attr-defined]
        view = (await client.get("/dashboard/data")).json()

    assert view["evaluations"] == view["evaluations_ever"] == 6
    assert view["unscored"] == {"no_response": 1}
    assert view["calls"] == 5
    assert view["binding"]["resource"] == "requests"
    assert view["quota"][0]["used_per_minute"] == 30
    assert view["targets"][0]["breaker"] == "closed"
    assert view["histograms"]["reward"][5] == 5
    assert sorted(view["histograms"]) == ["reward", "similarity"]
    assert {ident for _, ident in view["lowest"]} <= {"0", "1", "2", "3", "4"}
    assert view["workers"] == 1
    assert view["sees_all"]


async def test_the_service_is_scraped_for_what_it_did() -> None:
    async with serving(judged_by_nova()) as client:
        await client.judge.score([Sample(id=1, response="yes", reference="yes")])  # type: ignore[attr-defined]
        scraped = await client.get("/metrics")

    assert scraped.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'judge_samples_total{outcome="scored"} 1.0' in scraped.text


@pytest.mark.parametrize(
    ("workers", "shared", "sees_all"), [(1, False, True), (4, False, False), (4, True, True)]
)
async def test_a_page_that_sees_one_of_several_workers_says_so(
    tmp_path: Path, workers: int, *, shared: bool, sees_all: bool
) -> None:
    settings = judged_by_nova(service=ServiceSettings(workers=workers))
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)} if shared else {}
    async with serving(settings, environ) as client:
        view = (await client.get("/dashboard/data")).json()

    assert view["sees_all"] is sees_all


async def test_many_pages_cost_no_more_than_one() -> None:
    looks = 0

    class Counted(Workers):
        async def snapshots(self) -> list:
            nonlocal looks
            looks += 1
            return await super().snapshots()

    panel = Panel(Counted(Window()), sees_all=True)
    answers = await asyncio.gather(*[panel.latest() for _ in range(20)])

    assert looks == 1
    assert len(set(answers)) == 1


async def test_the_page_may_run_its_own_script_and_nothing_else() -> None:
    async with serving(Settings()) as client:
        page = await client.get("/dashboard")

    policy = page.headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", rules["script-src"])
    assert re.fullmatch(r"'sha256-[\w+/=]{44}'", rules["style-src"])
    assert rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert page.headers["content-type"].startswith("text/html")


def test_the_page_names_no_other_host_and_makes_no_markup_of_data() -> None:
    text = PAGE.read_text().replace("http://www.w3.org/2000/svg", "")

    assert "//" not in re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE).replace(": //", "")
    for sink in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "style=",
    ):
        assert sink not in text


def test_the_page_is_small() -> None:
    assert len(PAGE.read_bytes()) < 50_000


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


THEMES = [
    dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6});", block))
    for block in re.findall(r":root[^{]*\{([^}]*)\}", PAGE.read_text())
]


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark as the browser asks", "dark"])
def test_text_has_the_contrast_that_accessibility_asks_for(theme: dict[str, str]) -> None:
    """WCAG 2.2: 4.5 to 1 for text."""
    colours = ("text", "muted", "blue", "orange", "green", "red", "amber")
    for colour, ground in itertools.product(colours, ("card", "page")):
        assert contrast(theme[colour], theme[ground]) >= 4.5, (colour, ground)


def test_both_ways_to_be_dark_have_the_same_colours() -> None:
    _, by_browser, by_switch = THEMES

    assert json.dumps(by_browser) == json.dumps(by_switch)
