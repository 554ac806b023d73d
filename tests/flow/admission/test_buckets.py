"""Several token buckets: a call takes from all of them or from none."""

from math import inf

from judge_service.flow.admission.bucket import Limit
from judge_service.flow.admission.buckets import Buckets

SECOND_US = 1_000_000


def supply() -> Buckets:
    return Buckets({"requests": Limit(600, 1), "tokens": Limit(6000, 1)})


def test_it_takes_from_all_or_from_none() -> None:
    one = supply()
    assert one.take((1, 100), SECOND_US)
    assert not one.take((1, 1), SECOND_US)
    assert repr(one) == "Buckets(requests=9, tokens=0)"
    assert one.take((1, 0), SECOND_US)


def test_it_settles_by_resource() -> None:
    one = supply()
    assert one.take((1, 50), SECOND_US)
    one.settle((1, 50), (1, 70), lambda: SECOND_US)
    assert repr(one) == "Buckets(requests=9, tokens=30)"


def test_it_knows_what_is_missing_and_until_when() -> None:
    one = supply()
    assert one.take((10, 50), SECOND_US)
    assert one.missing([3, 60]) == {"requests": 3, "tokens": 10}
    assert one.ready_at_s((1, 60), (0, 0)) == 1.1
    assert one.ready_at_s((1, 60), (4, 40)) == 1.5
    assert one.ready_at_s((1, 60), (4, 40), 0.5) == 1.3
    one.set_rates({"requests": 0}, SECOND_US)
    assert one.leased
    assert one.ready_at_s((1, 60), (0, 0)) == inf


def test_a_call_is_as_large_as_what_it_takes_of_its_dearest_resource() -> None:
    one = supply()
    assert one.size((1, 1)) == 100_000
    assert one.size((1, 200)) == 2 * SECOND_US
