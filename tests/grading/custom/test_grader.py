"""A custom grader: its three forms, and everything that can go wrong in it."""

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

import judge_service
from judge_service.flow import Request
from judge_service.grading import CustomGrader, open_custom_grader
from judge_service.grading.custom.threads import Threads
from judge_service.values import UNSCORED_REASONS, Message, Reward, Sample

SAMPLE = Sample(
    id=7,
    messages=(Message("user", "1 + 1?"),),
    response="2",
    reference="two",
    metadata={"answer": "2", "data_source": "sums", "extra_info": {"level": 3}},
)


@pytest.fixture(autouse=True)
def _foreign_code_may_block(_no_blocking: BlockBuster) -> None:
    """On the loop of its own, which is what that loop is for."""
    for function in _no_blocking.functions.values():
        function.can_block_in("judge_service/grading/custom/grader.py", {"_attempt_async"})


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Writes a module of the user's, which can be imported; gives its name."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(text: str, name: str = "graders") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def grade(write: Callable[..., str]) -> Callable[..., Any]:
    """The reward that a module's function `f` gives one sample."""

    async def grade(
        text: str, sample: Sample = SAMPLE, *, timeout_s: float = 5.0, left_s: float = 60.0
    ) -> Reward:
        sys.modules.pop("graders", None)
        grader = await open_custom_grader(f"{write(text)}:f", timeout_s=timeout_s)
        try:
            deadline = asyncio.get_running_loop().time() + left_s
            return await grader(Request(sample, deadline))
        finally:
            grader.close()

    return grade


FORMS = {
    "ours": "def f(sample): return 0.25 * len(sample.response) if sample.reference == 'two' else 0",
    "ours, async": "import asyncio\nasync def f(sample):\n await asyncio.sleep(0)\n return 0.25",
    "ours, with a default": "def f(sample, scale=0.25): return scale",
    "an object": "class F:\n def __call__(self, sample): return 0.25\nf = F()",
    "an async object": "class F:\n async def __call__(self, sample): return 0.25\nf = F()",
    "a partial": "from functools import partial\ndef g(k, *, sample): return k\nf = partial(g, 0.25)",
    "verl": (
        "def f(data_source, solution_str, ground_truth, extra_info=None, **kwargs):\n"
        " assert (data_source, solution_str, ground_truth) == ('sums', '2', 'two'), kwargs\n"
        " return {'score': 0.25, 'level': extra_info['level'], 'note': 'text is left out'}"
    ),
    "verl, async": (
        "async def f(data_source, solution_str, ground_truth, extra_info):\n return 0.25"
    ),
    "TRL": (
        "def f(prompts, completions, answer, **columns):\n"
        " assert columns['reference'] == ['two'], columns\n"
        " right = completions[0][0]['content'] == answer[0] and prompts[0][0]['role'] == 'user'\n"
        " return [0.25 * right]"
    ),
    "TRL, as text": (
        "def f(completions: list[str], prompts: list[str], **columns):\n"
        " return [0.25 * (completions == ['2'] and prompts == ['1 + 1?'])]"
    ),
    "TRL, async": "async def f(prompts, completions, **columns): return [0.25]",
    "a Score": "from judge_service import Score\ndef f(sample): return Score(0.25, {'tone': 1})",
    "rounding": "def f(sample): return 0.25 if sample.id == 7 else 1.0000000001",
    "a number of another kind": "from fractions import Fraction\ndef f(sample): return Fraction(1, 4)",
}


@pytest.mark.parametrize("form", FORMS)
async def test_a_function_of_each_form_is_called_as_it_expects(grade: Any, form: str) -> None:
    reward = await grade(FORMS[form])

    assert (reward.score, reward.reason, reward.detail) == (0.25, None, "")
    assert reward.model == "graders:f"


async def test_numbers_beside_the_score_are_metrics_and_parts(grade: Any) -> None:
    verl = await grade(FORMS["verl"])
    score = await grade(FORMS["a Score"])

    assert verl.metrics == {"level": 3.0}
    assert [(part.name, part.score) for part in score.parts] == [("tone", 1.0)]


BAD = {
    "too much": ("return 1.5", "the score is 1.5, which is outside 0 to 1"),
    "too little": ("return -0.5", "the score is -0.5, which is outside 0 to 1"),
    "NaN": ("return float('nan')", "the score is nan, which is not finite"),
    "infinite": ("return float('inf')", "the score is inf, which is not finite"),
    "beyond a float": ("return 10 ** 400", "the score is beyond the range of a float"),
    "None": ("return None", "the score is None, not a number"),
    "text": ("return '0.5'", "the score is a value of type str, not a number"),
    "no score in a dict": ("return {'reward': 1}", "a mapping without the key `score`"),
    "a score that is text": ("return {'score': 'x'}", "the score is a value of type str"),
    "a bad metric name": ("return {'score': 1, 'a b': 2}", "must be letters, digits and `_`"),
    "our own metric": ("return {'score': 1, 'unscored': 1}", "and not `unscored`"),
    "a metric that is NaN": ("return {'score': 1, 'x': float('nan')}", "metric `x` is nan"),
    "many metrics": (
        "return {'score': 1, **{f'm{n}': n for n in range(33)}}",
        "33 names beside the score",
    ),
    "a coroutine": ("async def g(): return 1\n return g()", "declare it `async def`"),
    "an exception": ("raise ValueError('not so')", "failed at graders.py:2: ValueError: not so"),
    "an exception in a library": (
        "import json; json.loads('{')",
        "failed at graders.py:2: JSONDecodeError: Expecting property name",
    ),
    "exit": ("import sys; sys.exit(3)", "failed at graders.py:2: SystemExit: 3"),
    "an interrupt": ("raise KeyboardInterrupt", "failed at graders.py:2: KeyboardInterrupt"),
    "recursion": ("return f(sample)", "RecursionError: maximum recursion depth"),
    "an assertion": ("assert sample.id == 8", "failed at graders.py:2: AssertionError"),
    "an exception that cannot be shown": (
        "class E(Exception):\n  def __str__(self): raise RuntimeError\n raise E",
        "E: (it cannot be shown)",
    ),
}


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("case", BAD)
async def test_what_is_no_score_is_an_unscored_sample_with_a_sentence(
    grade: Any, case: str, kind: str
) -> None:
    body, sentence = BAD[case]
    if (case, kind) == ("a coroutine", "async def"):
        body = "async def g(): return 1\n return g()"
    reward = await grade(f"{kind} f(sample):\n {body}\n")

    assert (reward.score, reward.reason) == (None, "grader_error") or case == "recursion"
    if (case, kind) == ("recursion", "async def"):  # there it is a coroutine that nobody awaits
        sentence = "declare it `async def`"
    assert sentence in reward.detail
    assert reward.detail.startswith("your grader graders:f ")


async def test_an_exceptions_text_becomes_one_short_printable_line(grade: Any) -> None:
    reward = await grade(
        "def f(sample):\n raise ValueError('a\\nb\\x1b[31m\\u202e' + 'x' * 10_000)\n"
    )

    assert reward.detail.startswith("your grader graders:f failed at graders.py:2: ValueError: a b")
    assert reward.detail.isprintable()
    assert len(reward.detail) <= 600


async def test_the_none_of_trl_is_not_judged_and_no_error(grade: Any) -> None:
    reward = await grade("def f(prompts, completions, **columns): return [None]")

    assert (reward.score, reward.reason) == (None, "abstained")
    assert reward.reason in UNSCORED_REASONS


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("return [0.1, 0.2, 0.3]", "it returned 3 rewards for 1 completion"),
        ("return 0.5", "it returned a value of type float, not a list"),
    ],
)
async def test_a_trl_function_must_give_one_reward(grade: Any, body: str, sentence: str) -> None:
    reward = await grade(f"def f(prompts, completions, **columns): {body}")

    assert reward.reason == "grader_error"
    assert sentence in reward.detail


async def test_a_column_that_the_row_lacks_is_named(grade: Any) -> None:
    reward = await grade("def f(prompts, completions, solution): return [1.0]")

    assert reward.reason == "grader_error"
    assert "it needs the column `solution`, which the row does not have" in reward.detail


async def test_a_row_without_a_response_does_not_reach_the_function(grade: Any) -> None:
    reward = await grade("def f(sample): raise ValueError", Sample(id=1))

    assert reward.reason == "no_response"


HANGS = {
    "def": "import threading\nwait = threading.Event()\ndef f(sample):\n wait.wait(2)\n return 1.0\n",
    "async def": "import asyncio\n\nasync def f(sample):\n await asyncio.sleep(2)\n return 1.0\n",
    "async def, blocking": (
        "import threading\nwait = threading.Event()\nasync def f(sample):\n wait.wait(2)\n return 1.0\n"
    ),
    "async def, not to be cancelled": (
        "import asyncio\nasync def f(sample):\n"
        " try: await asyncio.sleep(2)\n except asyncio.CancelledError: await asyncio.sleep(2)\n"
    ),
}


@pytest.mark.parametrize("kind", HANGS)
async def test_a_call_that_does_not_come_back_is_given_up_and_its_line_named(
    grade: Any, kind: str
) -> None:
    before = time.monotonic()
    reward = await grade(HANGS[kind], timeout_s=0.05)

    assert reward.reason == "grader_error"
    assert "did not return within 0.05 s (`grader_timeout_s`)" in reward.detail
    assert "graders.py:4" in reward.detail or kind == "async def, not to be cancelled"
    assert time.monotonic() - before < 1.5


@pytest.mark.parametrize("kind", HANGS)
async def test_at_the_deadline_the_reason_is_the_deadline(grade: Any, kind: str) -> None:
    reward = await grade(HANGS[kind], timeout_s=5.0, left_s=0.05)

    assert reward.reason == "deadline"


@pytest.mark.parametrize("kind", ["def", "async def, blocking"])
async def test_one_call_that_hangs_does_not_stop_the_next(write: Any, kind: str) -> None:
    hang = HANGS[kind].replace("wait.wait(2)", "sample.id and wait.wait(2)")
    grader = await open_custom_grader(f"{write(hang)}:f", timeout_s=0.05)

    first = await grader(Request(SAMPLE))
    second = await grader(Request(Sample(id=0, response="x")))

    assert (first.reason, second.score) == ("grader_error", 1.0)
    assert grader.statistics().lost == 1
    grader.close()


@pytest.mark.parametrize("kind", ["def", "async def, blocking"])
async def test_hanging_calls_hold_a_bounded_number_of_threads_and_then_none_is_made(
    write: Any, kind: str
) -> None:
    grader = await open_custom_grader(f"{write(HANGS[kind])}:f", timeout_s=0.02)
    limit = 3
    grader._threads._max_threads = grader._loops._max_loops = limit

    rewards = [await grader(Request(SAMPLE)) for _ in range(limit + 2)]

    assert grader.statistics().threads == limit
    assert [reward.reason for reward in rewards] == ["grader_error"] * (limit + 2)
    assert "too many calls did not return" in rewards[-1].detail
    sys.modules["graders"].wait.set()
    grader.close()


async def test_those_who_wait_for_a_thread_are_told_when_none_can_come_back() -> None:
    threads, forever = Threads(max_threads=1), threading.Event()
    calls = [asyncio.create_task(threads.run(forever.wait, 0.05, float("inf"))) for _ in range(3)]

    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(outcome).__name__ for outcome in outcomes] == [
        "OverdueError",
        "StuckError",
        "StuckError",
    ]
    forever.set()


async def test_a_thread_that_comes_back_late_is_used_again() -> None:
    threads, gate = Threads(max_threads=1), threading.Event()
    with pytest.raises(Exception, match="overdue"):
        await threads.run(gate.wait, 0.02, float("inf"))
    assert threads.statistics().lost == 1

    gate.set()
    while threads.statistics().lost:  # noqa: ASYNC110 - the end of a thread is no event of ours
        await asyncio.sleep(0.001)

    assert await threads.run(lambda: "again", 1.0, float("inf")) == "again"
    assert threads.statistics().threads == 1
    threads.close()


async def test_a_thread_that_was_given_to_one_who_has_just_gone_is_not_lost() -> None:
    threads = Threads(max_threads=1)
    thread = await threads._take()
    waiting = asyncio.create_task(threads._take())
    await asyncio.sleep(0)

    threads._free(thread)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert threads._idle == [thread]
    threads.close()


async def test_waiting_for_a_thread_ends_at_the_deadline(write: Any) -> None:
    grader = await open_custom_grader(f"{write(HANGS['def'])}:f", timeout_s=1.0)
    grader._threads._max_threads = 1
    now = asyncio.get_running_loop().time()

    rewards = await asyncio.gather(*(grader(Request(SAMPLE, now + 0.05)) for _ in range(2)))

    assert [reward.reason for reward in rewards] == ["deadline"] * 2
    assert "waited for" in rewards[1].detail
    sys.modules["graders"].wait.set()


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_a_cancelled_sample_leaves_no_task_and_no_lost_slot(write: Any, kind: str) -> None:
    text = HANGS[kind].replace("(2)", "(0.05)")
    grader = await open_custom_grader(f"{write(text)}:f", timeout_s=5.0)
    task = asyncio.create_task(grader(Request(SAMPLE)))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert (await grader(Request(SAMPLE))).score == 1.0
    assert grader.statistics().lost == 0 or kind == "def"
    grader.close()


async def test_async_calls_run_together_on_one_loop_so_that_a_client_can_be_kept(
    write: Any,
) -> None:
    text = (
        "import asyncio\nseen = []\nasync def f(sample):\n seen.append(asyncio.get_running_loop())\n"
        " await asyncio.sleep(0.05)\n return 1.0\n"
    )
    grader = await open_custom_grader(f"{write(text)}:f", timeout_s=5.0)
    before = time.monotonic()
    await asyncio.gather(*(grader(Request(SAMPLE)) for _ in range(100)))

    assert time.monotonic() - before < 1.0
    assert len(set(sys.modules["graders"].seen)) == 1
    assert sys.modules["graders"].seen[0] is not asyncio.get_running_loop()
    grader.close()


@pytest.mark.parametrize("kind", ["def", "async def"])
async def test_closing_ends_the_threads(write: Any, kind: str) -> None:
    before = set(threading.enumerate())
    grader = await open_custom_grader(f"{write(f'{kind} f(sample): return 1')}:f", timeout_s=5.0)
    await asyncio.gather(*(grader(Request(SAMPLE)) for _ in range(5)))

    grader.close()

    until = time.monotonic() + 2
    while set(threading.enumerate()) - before:
        assert time.monotonic() < until
        await asyncio.sleep(0.005)


async def test_every_reward_has_every_part_that_was_ever_named(write: Any) -> None:
    text = (
        "from judge_service import Score\ndef f(sample):\n"
        " return Score(0.5, {f'p{sample.id}': 0.5}) if sample.id < 40 else 0.5\n"
    )
    grader = await open_custom_grader(f"{write(text)}:f", timeout_s=5.0)
    rewards = [await grader(Request(Sample(id=n, response="x"))) for n in range(40)]

    assert [part.score for part in rewards[1].parts] == [None, 0.5]
    assert len(rewards[31].parts) == 32
    assert rewards[32].reason == "grader_error"
    assert "more than 32 different parts" in rewards[32].detail
    grader.close()


def test_the_record_for_it_is_public() -> None:
    assert judge_service.Score(0.5).score == 0.5


def test_its_repr_is_one_line_that_names_form_and_limit(write: Any) -> None:
    async def scenario() -> CustomGrader:
        return await open_custom_grader(f"{write(FORMS['verl'])}:f", timeout_s=5.0)

    shown = repr(asyncio.run(scenario()))

    assert "graders:f" in shown
    assert "in verl form, at most 5 s" in shown
