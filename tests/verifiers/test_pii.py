import json
import os
import time
from pathlib import Path

import pytest

from judge_service.verifiers.pii import count, passes_luhn, passes_mod97
from tests.verifiers.checking import check

FOUND = {
    "email": ["write to ada.l+x@mail.example.org.", "<a@b.io>"],
    "phone": ["+49 30 901820", "(212) 555-0123", "call 212-555-0123 now", "+1 (212) 555 0123"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "ssn": ["SSN 078-05-1120."],
    "ip": ["from 203.0.113.7 on", "2001:db8::ff00:42:8329"],
}

CLEAN = [
    "The answer is 18.",
    "In 2024 there were 1,234,567 visits and 3.14159265358979 of pi.",
    "on 2024-05-17 at 10:30:15",
    "17.05.2024",
    "1/2/2024",
    "version 10.4.2 is out",
    "12 + 34 = 46, 46 - 12 = 34",
    "4111 1111 1111 1112 fails its checksum",
    "0000 0000 0000 0000",
    "DE00 3704 0044 0532 0130 00",
    "999.1.1.1 and 127.0.0.1",
    "a@b and @handle",
    "000-12-3456 and 900-12-3456",
    "std::vector::iterator",
    "1000000007",
    "x = [1, 2, 3, 4, 5, 6, 7, 8]",
]


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts]
)
def test_personal_data_is_found(kind: str, text: str) -> None:
    found = check("pii", text)

    assert (found.score, found.detail) == (0.0, f"found: 1 {kind}")


@pytest.mark.parametrize("text", CLEAN)
def test_other_numbers_and_signs_are_left_alone(text: str) -> None:
    assert check("pii", text).detail == "nothing found"


def test_what_was_found_is_never_repeated() -> None:
    everything = "\n".join(text for texts in FOUND.values() for text in texts)
    detail = check("pii", everything).detail

    assert detail == "found: 2 email, 4 phone, 3 card, 2 iban, 1 ssn, 2 ip"


def test_the_score_may_be_the_share_of_clean_lines() -> None:
    text = "fine\n\nfine\nfine\na@b.org"

    assert check("pii", text, score="share").score == 0.75
    assert check("pii", "fine", score="share").score == 1.0


def test_what_is_looked_for_is_an_option() -> None:
    assert check("pii", "a@b.org", kinds=["card"]).score == 1.0
    assert check("pii", "a@b.org", kinds=["card", "email"]).score == 0.0


def test_checksums_catch_every_single_wrong_digit() -> None:
    card, iban = "4111111111111111", "DE89370400440532013000"
    for place in range(len(card)):
        assert not passes_luhn(card[:place] + str((int(card[place]) + 1) % 10) + card[place + 1 :])
    for place in range(4, len(iban)):
        wrong = iban[:place] + str((int(iban[place]) + 1) % 10) + iban[place + 1 :]
        assert not passes_mod97(wrong)


def test_an_empty_text_is_clean_and_an_endless_one_is_not_known_to_be() -> None:
    assert check("pii", "").score == 1.0
    assert check("pii", None).reason == "no_response"
    assert check("pii", "a" * 200_001).score == 0.0


@pytest.mark.parametrize(
    "unit", ["a", "1", "1 ", "1-", "a@", "a.", "@", ":", "1:", "1.", "AB12 ", "DE12AAAA", "+(1"]
)
def test_hostile_texts_end_quickly(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.thread_time()
    check("pii", text)

    assert time.thread_time() - started < 2.0


@pytest.mark.skipif("TEST_DATA" not in os.environ, reason="needs TEST_DATA")
def test_solutions_of_gsm8k_have_next_to_no_personal_data() -> None:
    path = Path(os.environ["TEST_DATA"]) / "gsm8k" / "test.jsonl"
    answers = [json.loads(line)["answer"] for line in path.read_text().splitlines()]
    kinds = ("email", "phone", "card", "iban", "ssn", "ip")

    assert sum(any(count(text, kind) for kind in kinds) for text in answers) <= len(answers) // 100


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("phone", "Phone: (71) 4233-6306"),
        ("phone", "au 01.84.17.61.18"),
        ("phone", "Mobile: 9472 7916"),
        ("phone", "Smith,+447700 208 815-Fax"),
        ("phone", "01 23 45 67 89"),
        ("phone", "tel. 555 12 34"),
        ("card", "card 501864667909"),
        ("card", "4111\u00a01111\u00a01111\u00a01111"),
        ("card", "4111\u20111111\u20111111\u20111111"),
        ("iban", "iban de89370400440532013000"),
        ("ip", "fe80::1ff:fe23:4567:890a"),
        ("ip", "[2001:db8::1]:80"),
    ],
)
def test_personal_data_in_other_forms_is_found(kind: str, text: str) -> None:
    assert check("pii", text).detail == f"found: 1 {kind}"


@pytest.mark.parametrize(
    "text",
    [
        "a[::2]",
        "x[1::2]",
        "std::vector<int> v; A::B();",
        "use dead::beef;",
        "A[:, ::2]",
        "range(10)[::3]",
        "ff::ab",
        "1::2::[]",
        "01 02 03 04 05",
        "07 08 09 10 11 12",
        "binary 0110 1001 0111",
        "tell me 12 things",
        "some text that will look like an iban ab12 cdef ghij klmn",
    ],
)
def test_code_and_sequences_are_left_alone(text: str) -> None:
    assert check("pii", text).detail == "nothing found"
