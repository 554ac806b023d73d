"""Forms of calls that models write, and texts that are equal as arguments."""

import pytest

from judge_service.verifiers.tool_calls.matching import plain
from tests.verifiers.checking import check

ONE = '[{"f": {"a": [1]}}]'

FORMS = [
    'Let me call. {"name": "f", "arguments": {"a": 1}}',
    '<tool_call>{"name": "f", "arguments": {"a": 1}}',
    '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}]',
    '[TOOL_CALLS]f[ARGS]{"a": 1}',
    '[TOOL_CALLS]f{"a": 1}',
    '<|python_tag|>{"name": "f", "parameters": {"a": 1}}',
    '<|python_tag|>{"name": "f", "parameters": {"a": 1}}<|eom_id|>',
    "<|python_tag|>f(a=1)",
    '{"tool_calls": [{"type":"function","function":{"name":"f","arguments":"{\\"a\\": 1}"}}]}',
    '{"role":"assistant","content":null,"tool_calls": [{"function":{"name":"f","arguments":{"a": 1}}}]}',
    '<function=f>{"a": 1}</function>',
    "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
    (
        "<\uff5ctool▁calls▁begin\uff5c><\uff5ctool▁call▁begin\uff5c>"
        'function<\uff5ctool▁sep\uff5c>f\n```json\n{"a": '
        "1}\n```<\uff5ctool▁call▁end\uff5c><\uff5ctool▁calls▁end\uff5c>"
    ),
    '<\uff5ctool▁call▁begin\uff5c>f<\uff5ctool▁sep\uff5c>{"a": 1}<\uff5ctool▁call▁end\uff5c>',
    (
        "<|tool_calls_section_begin|><|tool_call_begin|>"
        'functions.f:0<|tool_call_argument_begin|>{"a": '
        "1}<|tool_call_end|><|tool_calls_section_end|>"
    ),
    (
        "<|channel|>analysis<|message|>hm "
        '{"name":"f","arguments":{"a":2}}<|end|><|start|>assistant<|channel|>commentary '
        'to=functions.f <|constrain|>json<|message|>{"a": 1}<|call|>'
    ),
    "`f(a=1)`",
    'I call `{"name": "f", "arguments": {"a": 1}}` now.',
    "f(a=+1)",
    '<think>{"name":"f","arguments":{"a":2}}</think>{"name":"f","arguments":{"a":1}}',
    'functools[{"name": "f", "arguments": {"a": 1}}]',
    '```json\n{"name": "f", "arguments": {"a": 1}}\n```',
    "Sure:\n\nf(a=1)",
    '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call><|im_end|>',
]

EQUAL = [
    ("San Francisco, CA", "san francisco ca"),
    ("New York - NY", "New York, NY"),
    ("T-shirt", "t shirt"),
    ("2022-04-27", "2022-04-27"),
    ("5-3", "5 - 3"),
    ("x * y", "x*y"),
    ("1,000", "1,000"),
    ("It's", "its"),
    ("Mr. A. Smith", "Mr A Smith"),
    ("km/h", "kmh"),
    ("user_name", "user name"),
    ("34.05, -118.2", "34.05,-118.2"),
    ("v1.2", "v1.2"),
    ("New-York", "new york"),
]

DIFFERENT = [
    ("5 - 3", "5 * 3"),
    ("5 - 3", "5 / 3"),
    ("2 ** 10", "2 * 10"),
    ("x**2", "x/2"),
    ("a-b", "a*b"),
    ("34.0522, -118.2437", "34.0522, 118.2437"),
    ("- 1", "1"),
    ("O-", "O"),
    ("A*", "A-"),
    ("x-y", "x*y"),
    ("x^2", "x*2"),
    ("-x", "x"),
    ("3*x**2", "3/x**2"),
    ("a.b@c.com", "ab@c.com"),
    ("rm -rf", "rm rf"),
    ("3*x**-2", "3*x**2"),
    ("lambda x: 3*x**2", "lambda x: 3/x**2"),
    ("/etc/passwd", "etcpasswd"),
    ("O- blood", "O blood"),
    ("10 -5", "10 5"),
    ("(a+b)*c", "(a+b)/c"),
    ("\u22125", "5"),
    ("n/2", "n2"),
    ("sin(x)/2", "sin(x)*2"),
    ("-1", "1"),
    ("from -5 to 5", "from 5 to 5"),
    ("1.5", "15"),
    ("[-1, 2]", "[1, 2]"),
    ("x=-1", "x=1"),
    ("(-3)", "(3)"),
]


@pytest.mark.parametrize("response", FORMS)
def test_a_call_is_read_in_the_form_of_any_model(response: str) -> None:
    assert check("tool_calls", response, ONE).score == 1.0
    assert check("tool_calls", response, '[{"f": {"a": [2]}}]').score == 0.5


def test_several_calls_after_a_mark() -> None:
    said = '<|python_tag|>{"name": "f", "parameters": {"a": 1}}; {"name": "g", "parameters": {}}'
    assert check("tool_calls", said, '[{"f": {"a": [1]}}, {"g": {}}]').score == 1.0


def test_an_argument_may_be_named_like_a_keyword() -> None:
    wanted = '[{"f": {"from": ["x"], "to": ["in, from=3"]}}]'
    assert check("tool_calls", "f(from='x', to='in, from=3')", wanted).score == 1.0


def test_no_score_is_a_negative_zero() -> None:
    assert str(check("tool_calls", "f(a=1)", '[{"g": {"a": [1]}}]').score) == "0.0"


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_typing_does_not_matter_in_an_argument(one: str, other: str) -> None:
    assert plain(one) == plain(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_operators_signs_and_addresses_matter_in_an_argument(one: str, other: str) -> None:
    assert plain(one) != plain(other)
