r"""Rewrites trees: `\pm` as two values, an inequality as an interval."""

from judge_service.verifiers.math.nodes import (
    Call,
    Group,
    Interval,
    Node,
    Quantity,
    Relation,
    Sym,
    walk,
)
from judge_service.verifiers.math.tokens import Unread

MAX_ALTERNATIVES = 4
r"""Most `\pm` in an expression that are expanded."""

WHOLE_NUMBERS = (Sym("set Z"), Sym("Z"))

FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def named_alike(parts: list[Node]) -> list[Node]:
    """Expands a list after a name: in `k = 2, 5, 7` all three values belong to `k`."""
    first = parts[0]
    named = isinstance(first, Relation) and first.operators == ("=",)
    if isinstance(first, Relation) and named and len(parts) > 1:
        rest = parts[1:]
        return (
            parts if any(isinstance(part, Relation) for part in rest) else [first.sides[1], *rest]
        )
    return parts


def without_members(parts: list[Node]) -> list[Node]:
    r"""`x \in A` alone says as much as `A`; beside a value, `k \in Z` says only that k is a whole number."""
    if len(parts) == 1 and isinstance(parts[0], Group) and parts[0].kind == "member":
        return [parts[0].items[1]]
    rest = [part for part in parts if not (isinstance(part, Group) and part.kind == "member")]
    values = all(
        isinstance(part, Call) or (isinstance(part, Relation) and part.operators == ("=",))
        for part in rest
    )
    whole = all(
        part in rest or (isinstance(part, Group) and part.items[1] in WHOLE_NUMBERS)
        for part in parts
    )
    return rest if rest and values and whole else parts


def alternatives(node: Node) -> list[Node]:
    r"""Expands a value with `\pm` into two values."""
    count = sum(isinstance(one, Call) and one.name in {"pm", "mp"} for one in walk(node))
    if not count:
        return [node]
    if count > MAX_ALTERNATIVES:
        raise Unread
    return [_signed(node, 1), _signed(node, -1)]


def _signed(node: Node, sign: int) -> Node:  # noqa: PLR0911  one line for each kind of node
    match node:
        case Call(name="pm" | "mp", args=(inner,)):
            positive = (node.name == "pm") == (sign > 0)
            below = _signed(inner, sign)
            return below if positive else Call("neg", (below,))
        case Call():
            return Call(node.name, tuple(_signed(one, sign) for one in node.args))
        case Group():
            return Group(node.kind, tuple(_signed(one, sign) for one in node.items))
        case Relation():
            return Relation(tuple(_signed(one, sign) for one in node.sides), node.operators)
        case Quantity():
            return Quantity(_signed(node.value, sign), node.unit)
        case Interval():
            return Interval(
                _signed(node.low, sign), _signed(node.high, sign), node.left, node.right, node.of
            )
    return node


def as_interval(node: Node) -> Node:
    """Rewrites an inequality of one unknown, such as `x > 3`, as an interval; other nodes are unchanged."""
    if not isinstance(node, Relation) or any(one not in FLIPPED for one in node.operators):
        return node
    sides, operators = node.sides, node.operators
    if all(one in {">", ">="} for one in operators):
        sides, operators = sides[::-1], tuple(FLIPPED[one] for one in operators[::-1])
    if not all(one in {"<", "<="} for one in operators):
        return node
    unknown: Node
    infinity = Call("infty")
    below = Call("neg", (infinity,))
    if len(sides) == 3 and isinstance(sides[1], Sym):
        low, unknown, high = sides[0], sides[1], sides[2]
        left, right = operators
    elif len(sides) == 2 and isinstance(sides[0], Sym):
        (unknown, high), low, left, right = sides, below, "<", operators[0]
    elif len(sides) == 2 and isinstance(sides[1], Sym):
        (low, unknown), high, left, right = sides, infinity, operators[0], "<"
    else:
        return node
    if not isinstance(unknown, Sym) or unknown in walk(low) or unknown in walk(high):
        return node
    return Interval(
        low, high, "(" if left == "<" else "[", ")" if right == "<" else "]", unknown.name
    )
