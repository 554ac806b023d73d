"""The nodes of the syntax tree that `reader` makes from a mathematical text."""

from fractions import Fraction

from msgspec import Struct


class Num(Struct, frozen=True):
    """A number.

    places: digits after its decimal point, `None` without a point. figures: significant digits.
    """

    value: Fraction
    places: int | None = None
    figures: int = 0


class Based(Struct, frozen=True):
    """A number with its base, as written."""

    digits: str
    base: int


class Sym(Struct, frozen=True):
    """An unknown."""

    name: str


class Words(Struct, frozen=True):
    """A text that is not mathematics, in lower case."""

    text: str


class Call(Struct, frozen=True):
    """An operation or a function. Constants have no arguments."""

    name: str
    args: tuple["Node", ...] = ()


class Quantity(Struct, frozen=True):
    """A value with a unit, or with `%`."""

    value: "Node"
    unit: str


class Group(Struct, frozen=True):
    r"""Several values.

    kind: `tuple`, `set`, `union`, `intersection`, `difference`, `builder` (`\{x | ...\}`), `member`,
    `ratio`, `matrix`, `row`, `odd` (brackets of two kinds).
    """

    kind: str
    items: tuple["Node", ...]


class Interval(Struct, frozen=True):
    """An interval. left, right: its brackets, `[` or `(`, `]` or `)`. of: the name of its unknown, if any."""

    low: "Node"
    high: "Node"
    left: str
    right: str
    of: str = ""


class Relation(Struct, frozen=True):
    """A chain of sides with relations between them, such as `1 < x <= 3`."""

    sides: tuple["Node", ...]
    operators: tuple[str, ...]


Node = Num | Based | Sym | Words | Call | Quantity | Group | Interval | Relation


def children(node: Node) -> tuple[Node, ...]:
    """The parts of a node."""
    match node:
        case Call(args=parts) | Group(items=parts) | Relation(sides=parts):
            return parts
        case Quantity():
            return (node.value,)
        case Interval():
            return (node.low, node.high)
    return ()


def walk(node: Node) -> list[Node]:
    """A node and all its descendants."""
    found = [node]
    for part in found:
        found.extend(children(part))
    return found
