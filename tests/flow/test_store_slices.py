import pytest

from judge_service.flow.stores import Ask, Rules
from judge_service.flow.stores.slices import capacity, count, mark_of, portion, slice_ms

INDEX = 3_500_000_000  # 0.5 s slices of today


@pytest.mark.parametrize(
    ("per_minute", "length_ms"), [(24_000, 500), (120, 500), (60, 1000), (7, 8572), (0.5, 120_000)]
)
def test_a_slice_holds_a_unit_at_least(per_minute: float, length_ms: int) -> None:
    assert slice_ms({"requests": per_minute, "tokens": 1e9}) == length_ms
    assert capacity(per_minute, INDEX, length_ms, 1.0) >= 1


@pytest.mark.parametrize("per_minute", [450, 24_000, 100.7, 3.1e9])
def test_all_slices_together_hold_the_quota(per_minute: float) -> None:
    length_ms = slice_ms({"requests": per_minute})
    number = 60_000 // length_ms
    slices = [capacity(per_minute, INDEX + n, length_ms, 1.0) for n in range(number)]

    assert sum(slices) == pytest.approx(per_minute * number * length_ms / 60_000, abs=1)
    assert max(slices) - min(slices) <= 1


@pytest.mark.parametrize(("clients", "requests"), [(1, 200), (10, 20), (40, 12), (400, 12)])
def test_a_portion_is_the_share_but_a_batch_at_least(clients: int, requests: int) -> None:
    ask = Ask(client="a", per_minute={"requests": 24_000}, want={"requests": 1000})

    taken = portion(ask, {"requests": 200}, 0.5 / clients, 0.5, Rules())

    assert taken == {"requests": requests}


def test_a_portion_never_exceeds_a_slice() -> None:
    want, least = {"requests": 2, "tokens": 9000}, {"requests": 1, "tokens": 4500}
    ask = Ask(client="a", per_minute={}, want=want, least=least)

    assert portion(ask, {"requests": 5, "tokens": 1000}, 0.5, 0.5, Rules()) == {
        "requests": 2,
        "tokens": 1000,
    }


@pytest.mark.parametrize("clients", [1, 8, 40, 400])
def test_marks_tell_how_many_clients_there_are(clients: int) -> None:
    marks = {mark_of(f"host.{number}.abc") for number in range(clients)}

    assert count(marks) == pytest.approx(clients, rel=0.2)


def test_nobody_counts_as_one() -> None:
    assert count(()) == 1
