"""Compares two answers, given as syntax trees."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import mpmath  # type: ignore[import-untyped]  # it has no types
from mpmath import mp

from judge_service.verifiers.math.forms import FLIPPED, as_interval
from judge_service.verifiers.math.nodes import (
    Based,
    Call,
    Group,
    Interval,
    Node,
    Num,
    Quantity,
    Relation,
    Sym,
    Words,
    walk,
)
from judge_service.verifiers.math.numeric import DIGITS, TURNS, numbers_equal, unknowns
from judge_service.verifiers.math.tokens import FUNCTIONS
from judge_service.verifiers.math.value import Point, Unvalued, inexact, point, value

MAX_PARTS = 40
"""Most values of an answer that lists several."""

NAMED = frozenset("fghpqFGPTSVN")
"""Letters that are function names before a bracket."""


def same(said: Sequence[Node], gold: Sequence[Node], tolerance: float) -> bool:
    """Whether two answers are equal. tolerance: relative, of numbers."""
    equal = partial(one_equal, tolerance=tolerance)
    if len(said) == len(gold) == 1:
        return equal(said[0], gold[0])
    if len(gold) == 1 and isinstance(gold[0], Group) and gold[0].kind in {"set", "tuple", "union"}:
        return len(said) > 1 and (
            _matched(said, gold[0].items, equal)
            if gold[0].kind != "tuple"
            else _in_order(said, gold[0].items, equal)
        )
    if len(said) == 1 and isinstance(said[0], Group) and said[0].kind == "set":
        return _matched(said[0].items, gold, equal)
    return _matched(said, gold, equal)


def _in_order(said: Sequence[Node], gold: Sequence[Node], equal: Any) -> bool:
    return len(said) == len(gold) and all(map(equal, said, gold))


def _matched(said: Sequence[Node], gold: Sequence[Node], equal: Any) -> bool:
    """Whether two lists have equal values in any order. Equality is almost transitive."""
    said, gold = _distinct(said, equal), _distinct(gold, equal)
    if len(said) != len(gold) or len(said) > MAX_PARTS:
        return False
    left = list(gold)
    for one in said:
        for other in left:
            if equal(one, other):
                left.remove(other)
                break
        else:
            return False
    return True


def _distinct(parts: Sequence[Node], equal: Any) -> list[Node]:
    found: list[Node] = []
    for part in parts[: MAX_PARTS + 1]:
        if not any(equal(part, one) for one in found):
            found.append(part)
    return found


def one_equal(said: Node, gold: Node, tolerance: float = 0.0) -> bool:
    """Whether two single answers are equal."""
    if said == gold:
        return True
    if isinstance(said, Words | Based) or isinstance(gold, Words | Based):
        return False
    if isinstance(said, Relation) or isinstance(gold, Relation):
        return _with_relation(said, gold, tolerance)
    if isinstance(said, Group | Interval) or isinstance(gold, Group | Interval):
        return _with_group(said, gold, tolerance)
    return _quantities(said, gold, tolerance)


def _with_relation(said: Node, gold: Node, tolerance: float) -> bool:
    if isinstance(said, Relation) and isinstance(gold, Relation):
        return _relations(said, gold, tolerance)
    if isinstance(said, Interval) or isinstance(gold, Interval):
        said, gold = (solved(one) if isinstance(one, Relation) else one for one in (said, gold))
        if isinstance(said, Interval) and isinstance(gold, Interval):
            return _intervals(said, gold, tolerance)
    bare = [stated(one) if isinstance(one, Relation) else one for one in (said, gold)]
    return bare[0] is not None and bare[1] is not None and one_equal(bare[0], bare[1], tolerance)


def _with_group(said: Node, gold: Node, tolerance: float) -> bool:
    match said, gold:
        case Interval(), Interval():
            return _intervals(said, gold, tolerance)
        case Interval(), Group(kind="tuple"):
            return _pair_or_interval(gold, said, tolerance)
        case Group(kind="tuple"), Interval():
            return _pair_or_interval(said, gold, tolerance)
        case Group(), Group():
            return _groups(said, gold, tolerance)
    for one, other in ((said, gold), (gold, said)):
        if isinstance(one, Group) and one.kind in {"union", "set"}:
            return len(one.items) == 1 and one_equal(one.items[0], other, tolerance)
    return False


def _pair_or_interval(pair: Group, interval: Interval, tolerance: float) -> bool:
    """Compares an interval with a list: `(1, 2)` is a pair or an interval, `[1, 2]` an interval or a list."""
    is_open = (interval.left, interval.right) == ("(", ")")
    is_list = (interval.left, interval.right) == ("[", "]") and not interval.of
    ends = (interval.low, interval.high)
    return (is_open or is_list) and _ends(pair.items, ends, tolerance)


def stated(relation: Relation) -> Node | None:
    """The value that `x = 3`, `f(x) = 3` or `m + n = 1 + 2 = 3` states; `None` if it is a condition."""
    if any(one != "=" for one in relation.operators):
        return None
    rest = relation.sides[1:] if _plain_name(relation.sides[0]) else relation.sides
    if len(rest) == len(relation.sides) and len(rest) == 2 and unknowns(relation):
        return None
    rest = tuple(
        side for place, side in enumerate(rest) if place == len(rest) - 1 or not _plain_name(side)
    )
    if not all(one_equal(side, other) for side, other in pairwise(rest)):
        return None
    return rest[-1]


def _plain_name(node: Node) -> bool:  # noqa: PLR0911  one line for each form
    r"""Whether a side only names the value: `x`, `f(2)`, `AB`, `\cos t`, `m+n`; not `2x`, `x^2`, `xy`."""
    match node:
        case Words() | Sym():
            return True
        case Group(kind="tuple"):
            return all(map(_plain_name, node.items))
        case Call(name="add", args=(one, Sym())):
            return _plain_name(one)
        case Call(name="abs", args=(inner,)):
            return _plain_name(inner)
        case Call(name=name, args=(Sym(),)):
            return name in FUNCTIONS
        case Call(name="mul"):
            names = [one.name for one in walk(node) if isinstance(one, Sym)]
            first = leftmost(node)
            return isinstance(first, Sym) and (first.name in NAMED or "".join(names).isupper())
    return False


def leftmost(node: Node) -> Node:
    """The first factor of a product."""
    while isinstance(node, Call) and node.name == "mul":
        node = node.args[0]
    return node


def _relations(said: Relation, gold: Relation, tolerance: float) -> bool:
    if set(said.operators) == set(gold.operators) == {"="}:
        return _equations(said, gold, tolerance)
    if said.operators == gold.operators and _in_order(
        said.sides, gold.sides, partial(one_equal, tolerance=tolerance)
    ):
        return True
    if len(said.operators) == len(gold.operators) == 1:
        if said.operators[0] == gold.operators[0]:
            return _multiple(said, gold, positive=said.operators[0] != "!=")
        if FLIPPED.get(said.operators[0]) == gold.operators[0]:
            turned = Relation(said.sides[::-1], gold.operators)
            return _multiple(turned, gold, positive=True)
    return False


def _equations(said: Relation, gold: Relation, tolerance: float) -> bool:
    if len(said.sides) == len(gold.sides) and _in_order(
        said.sides, gold.sides, partial(one_equal, tolerance=tolerance)
    ):
        return True
    if _plain_name(said.sides[0]) and said.sides[0] == gold.sides[0]:
        one, other = stated(said), stated(gold)
        if one is not None and other is not None and one_equal(one, other, tolerance):
            return True
    if len(said.sides) > 2 or len(gold.sides) > 2:
        return False
    return _multiple(said, gold, positive=False) or _solved_alike(said, gold)


def _side(relation: Relation) -> Node:
    return Call("add", (relation.sides[0], Call("neg", (relation.sides[1],))))


def solved(relation: Relation) -> Node:
    """The solutions of a linear inequality in one unknown; any other relation as it is."""
    names = unknowns(relation)
    if len(names) != 1 or len(relation.operators) != 1 or relation.operators[0] not in FLIPPED:
        return relation
    (name,) = names
    try:
        zero, one, two = (value(_side(relation), {name: Fraction(at)}) for at in (0, 1, 2))
    except Unvalued:
        return relation
    exact = all(isinstance(found, Fraction) for found in (zero, one, two))
    if not exact or one == zero or two - one != one - zero:
        return relation
    root = Num(-zero / (one - zero))
    operator = relation.operators[0] if one > zero else FLIPPED[relation.operators[0]]
    return as_interval(Relation((Sym(name), root), (operator,)))


def _multiple(said: Relation, gold: Relation, *, positive: bool) -> bool:
    """Whether left side minus right side is the same in both equations, up to a constant factor."""
    one, other = _side(said), _side(gold)
    names = unknowns(one, other)
    if not names or unknowns(one) != unknowns(other):
        return False
    ratios = []
    try:
        with mp.workdps(DIGITS):
            for turn in range(TURNS + 1):
                where = point(names, turn)
                below = value(other, where)
                if not below:
                    return False
                ratios.append(inexact(value(one, where)) / inexact(below))
            spread = max(abs(ratio - ratios[0]) for ratio in ratios)
            factor = ratios[0]
            return bool(abs(factor) > 0 and spread <= abs(factor) * mpmath.mpf(10) ** -(DIGITS // 2)
                        and (not positive or (mpmath.im(factor) == 0 and mpmath.re(factor) > 0)))  # fmt: skip
    except Unvalued:
        return False


def _solved_alike(said: Relation, gold: Relation) -> bool:
    """Whether both equations are linear in one unknown and have the same solution for it at all points."""
    one, other = _side(said), _side(gold)
    names = unknowns(one, other)
    if len(names) < 2 or unknowns(one) != unknowns(other):
        return False
    with mp.workdps(DIGITS):
        return any(
            all(_same_root(one, other, point(names, turn), name) for turn in range(TURNS))
            for name in sorted(names)
        )


def _same_root(one: Node, other: Node, where: Point, name: str) -> bool:
    try:
        roots = [_linear_root(node, where, name) for node in (one, other)]
    except Unvalued:
        return False
    apart, size = abs(roots[0] - roots[1]), max(abs(roots[0]), abs(roots[1]))
    return bool(apart <= size * mpmath.mpf(10) ** -(DIGITS // 2))


def _linear_root(node: Node, where: Point, name: str) -> Any:
    zero, first, second = (
        inexact(value(node, {**where, name: Fraction(place)})) for place in (1, 2, 3)
    )
    slope = first - zero
    if abs(second - first - slope) > abs(slope) * mpmath.mpf(10) ** -(DIGITS // 2) or not slope:
        raise Unvalued
    return 1 - zero / slope


def _intervals(said: Interval, gold: Interval, tolerance: float) -> bool:
    if said.of and gold.of and said.of != gold.of:
        return False
    if (said.left, said.right) != (gold.left, gold.right):
        return False
    return _ends((said.low, said.high), (gold.low, gold.high), tolerance)


def _ends(said: Sequence[Node], gold: Sequence[Node], tolerance: float) -> bool:
    return _in_order(said, gold, partial(one_equal, tolerance=tolerance))


def _groups(said: Group, gold: Group, tolerance: float) -> bool:
    equal = partial(one_equal, tolerance=tolerance)
    if said.kind != gold.kind:
        return False
    if said.kind in {"set", "union", "intersection"}:
        return _matched(said.items, gold.items, equal)
    if said.kind == "builder":
        renamed = Relation((said.items[0],), ()) != Relation((gold.items[0],), ())
        return not renamed and _in_order(said.items[1:], gold.items[1:], equal)
    return _in_order(said.items, gold.items, equal)


def _quantities(said: Node, gold: Node, tolerance: float) -> bool:
    """Compares values with units, if both have one. `50%` may mean fifty or a half."""
    unit, wanted = _unit(said), _unit(gold)
    value_, gold_ = _bare(said), _bare(gold)
    if (unit == "%") != (wanted == "%"):
        hundredth = Call("div", ((value_ if unit == "%" else gold_), Num(Fraction(100))))
        if unit == "%":
            return numbers_equal(value_, gold_, tolerance) or numbers_equal(
                hundredth, gold_, tolerance
            )
        return numbers_equal(value_, gold_, tolerance) or numbers_equal(
            value_, hundredth, tolerance
        )
    if unit and wanted and _plural(unit) != _plural(wanted):
        return False
    return numbers_equal(value_, gold_, tolerance)


def _unit(node: Node) -> str:
    if isinstance(node, Call) and node.name == "neg":
        return _unit(node.args[0])
    return node.unit if isinstance(node, Quantity) else ""


def _bare(node: Node) -> Node:
    if isinstance(node, Call) and node.name == "neg":
        return Call("neg", (_bare(node.args[0]),))
    return node.value if isinstance(node, Quantity) else node


def _plural(unit: str) -> str:
    return unit.replace(" ", "").replace(".", "").rstrip("s")
