"""What a rubric can say, through the service: verifiers, several models, ranges, groups."""

import pytest

from judge_service import RubricError, Sample, Settings, SettingsError, open_service
from judge_service.backends.scripted import Scripted
from judge_service.settings import load_settings
from judge_service.simulator import simulate
from judge_service.telemetry.events import GroupScored
from judge_service.testing import RecordingSink
from judge_service.verifiers import Check, Pure

VERIFIED = """
name = "verified"
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
"""
MIXED = (
    VERIFIED
    + """
[[criteria]]
name = "clear"
description = "Is it clear?"
"""
)
RIGHT, WRONG = (Sample(id=one, response=one, reference="Paris") for one in ("Paris", "London"))


async def test_a_rubric_that_programs_check_asks_no_judge_and_needs_none() -> None:
    async with open_service(Settings(rubric=VERIFIED)) as judge:
        rewards = await judge.score([RIGHT, WRONG])
        explained = judge.explain()
        expected = judge.expect()
    assert [reward.score for reward in rewards] == [1.0, 0.0]
    assert {reward.usage.calls for reward in rewards} == {0}
    assert [name for name, _ in explained] == ["per sample"]
    assert (expected.calls_each, expected.bound_by) == (0, None)


async def test_a_mixed_rubric_asks_the_judge_only_about_what_it_judges() -> None:
    model = Scripted(0.5)
    async with open_service(Settings(rubric=MIXED), model=model) as judge:
        rewards = await judge.score([RIGHT, WRONG])
        explained = dict(judge.explain())["per sample"]
    assert [reward.score for reward in rewards] == [0.75, 0.25]
    assert [part.kind for part in rewards[0].parts] == ["verify", "judge"]
    asked = {one.name for prompt in model.prompts for one in prompt.question.criteria}
    assert asked == {"clear"}
    assert "right" not in model.prompts[0].messages[1].content
    assert len(explained) == 3


async def test_a_mixed_rubric_ranks_each_alone_and_says_so() -> None:
    async with open_service(Settings(rubric=MIXED), model=Scripted(0.5)) as judge:
        ranking = await judge.rank([WRONG, RIGHT])
    assert (ranking.ranks, ranking.compared) == ((2, 1), False)


@pytest.mark.parametrize(
    ("rubric", "problem"),
    [
        (
            VERIFIED.replace("exact", "exakt"),
            "rubric verified: `criteria[0]`: there is no verifier `exakt`",
        ),
        (
            VERIFIED + "options = { keep_cas = true }\n",
            "rubric verified: `criteria[0]`: `options`: Object contains unknown field `keep_cas`",
        ),
    ],
)
async def test_a_verifier_that_cannot_be_had_is_refused_when_opening(
    rubric: str, problem: str
) -> None:
    with pytest.raises(RubricError) as caught:
        async with open_service(Settings(rubric=rubric)):
            pass
    assert problem in str(caught.value)


OWN_MODEL = MIXED.replace("clear?", 'clear?"\nmodel = "judge-2').replace("mixed", "several")
TWO_MODELS = (
    OWN_MODEL
    + """
[[criteria]]
name = "kind"
description = "Is it kind?"
"""
)


async def test_a_criterion_may_have_a_model_of_its_own_with_a_quota_of_its_own() -> None:
    async with simulate() as simulator:
        environ = {
            "JUDGE_BACKEND": "openai",
            "JUDGE_MODEL": "judge-1",
            "JUDGE_RUBRIC": TWO_MODELS,
            "JUDGE_OPENAI_BASE_URL": f"{simulator.url}/v1",
            "JUDGE_LIMITS_REQUESTS_PER_MINUTE": "600",
            "JUDGE_PRICES_INPUT_USD_PER_MILLION_TOKENS": "1",
            "JUDGE_PRICES_OUTPUT_USD_PER_MILLION_TOKENS": "1",
        }
        async with open_service(load_settings(None, environ), environ=environ) as judge:
            (reward,) = await judge.score([RIGHT])
            targets = judge.statistics().targets
    assert reward.score is not None
    assert reward.usage.calls == 2
    assert set(reward.model.split(", ")) == {"judge-1", "judge-2"}
    assert [target.quota[0].spent for target in targets] == [1, 1]
    assert reward.cost_usd is None  # the prices are of the other model


async def test_the_answers_about_each_part_of_a_rubric_are_kept() -> None:
    parts = MIXED + '[[criteria]]\nname = "true"\ndescription = "Is it?"\nreasoning = "brief"\n'
    model = Scripted(0.5)
    async with open_service(Settings(rubric=parts), model=model) as judge:
        for _ in range(2):
            (reward,) = await judge.score([RIGHT])
    assert reward.cached
    assert len(model.prompts) == 2


async def test_verifiers_are_closed_with_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []

    class Watched(Pure):
        async def aclose(self) -> None:
            closed.append("right")

    monkeypatch.setattr(
        "judge_service.assembly.graders.open_verifier",
        lambda *_: Watched(lambda _sample: Check(score=1.0)),
    )
    async with open_service(Settings(rubric=VERIFIED)) as judge:
        assert [reward.score for reward in await judge.score([RIGHT])] == [1.0]
        assert closed == []
    assert closed == ["right"]


async def test_another_model_needs_a_backend_that_has_one() -> None:
    with pytest.raises(SettingsError, match="`model` of a criterion needs a backend"):
        async with open_service(Settings(rubric=OWN_MODEL)):
            pass


async def test_a_group_whose_rewards_are_all_alike_is_told_of() -> None:
    def group(key: str, *responses: str | None) -> list[Sample]:
        return [Sample(response=one, reference="Paris", group_key=key) for one in responses]

    sink = RecordingSink()
    samples = [
        *group("varied", "Paris", "London"),
        *group("flat", "Paris", "Paris", "Paris", None),
        *group("alone", "Paris", None),
        *group("", "Paris", "Paris"),
    ]
    async with open_service(Settings(rubric=VERIFIED), sink=sink) as judge:
        await judge.score(samples)
        state = judge.statistics()
    assert [(one.size, one.spread, one.is_flat) for one in sink.of(GroupScored)] == [
        (2, 1.0, False),
        (3, 0.0, True),
    ]
    assert (state.groups, state.flat_groups) == (2, 1)


async def test_the_rubric_may_say_the_range_of_its_rewards() -> None:
    signed = VERIFIED.replace('"verified"', '"verified"\noutput = "-1..1"')
    async with open_service(Settings(rubric=signed)) as judge:
        answers = await judge.answers([RIGHT, WRONG])
        assert judge.settings.wire.score_range == "-1..1"
    assert [answer.score for answer in answers] == [1.0, -1.0]
