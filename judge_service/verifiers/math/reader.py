"""Reads mathematics as a tree, to its last character or not at all."""

import re
from fractions import Fraction

from judge_service.verifiers.math.atoms import Atoms, number
from judge_service.verifiers.math.forms import (
    alternatives,
    as_interval,
    named_alike,
    without_members,
)
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
from judge_service.verifiers.math.notation import normal
from judge_service.verifiers.math.tokens import (
    ACCENTS,
    CALCULATOR,
    FUNCTIONS,
    GREEK,
    SCALES,
    SEPARATORS,
    Token,
    Unread,
    tokens,
)

FACTORS = (
    FUNCTIONS
    | GREEK
    | ACCENTS
    | {"frac", "sqrt", "binom", "dbinom", "tbinom", "pi", "infty", "lfloor", "lceil", "lvert"}
)
"""Commands that begin a factor."""

SIGNS = frozenset({"%", "degrees"})
"""Units that are signs, and do not end a value."""

MAX_DEPTH = 60
"""Deepest nesting that is read."""

PROSE = re.compile(r"[^\W\d_][^\d\\{}^_=<>+*/|]*")
MATHEMATICAL = CALCULATOR.keys() | SEPARATORS
LONG_WORD = re.compile(r"[^\W\d_]{4}")
RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "le": "<=",
    "ge": ">=",
    "ne": "!=",
    "lt": "<",
    "gt": ">",
    "approx": "=",
    "equiv": "=",
}
TRIG = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])


def read(text: str) -> tuple[Node, ...]:
    """The values of an answer, several if it lists several. Raises Unread."""
    written = normal(text).rstrip(" .")
    bare = re.sub(r"\\(?:text|mathrm|textbf|mbox)\s?\{([^{}]*)\}", r"\1", written)
    if (
        PROSE.fullmatch(bare)
        and LONG_WORD.search(bare)
        and MATHEMATICAL.isdisjoint(re.findall("[A-Za-z]+", bare))
    ):
        return (Words(" ".join(bare.lower().split()).strip(" .()")),)
    try:
        return Reader(tokens(written)).all()
    except RecursionError:
        raise Unread from None


class Reader(Atoms):
    """A descent through the tokens of one text."""

    def __init__(self, given: list[Token]) -> None:
        super().__init__(given)
        self._depth = 0
        self._degrees = False  # whether a degree sign counts, which it does inside sin, cos, tan

    def all(self) -> tuple[Node, ...]:
        """Reads all parts. Raises Unread if anything is left."""
        parts: list[Node] = []
        joined_by_or = False
        while self._place < len(self._tokens):
            parts.append(self._statement())
            token = self._peek()
            if token.kind in {",", ";", "and"} or (
                token.kind == "command" and token.text in {"lor", "land"}
            ):
                joined_by_or |= token.text in {"or", "lor"}
                self._place += 1
                if self._peek().kind == "and":
                    joined_by_or |= self._peek().text == "or"
                    self._place += 1
            elif self._place < len(self._tokens):
                raise Unread
        if not parts:
            raise Unread
        parts = named_alike(without_members(parts))
        spread = [one for part in parts for one in alternatives(part)]
        spread = [as_interval(part) for part in spread]
        if (
            joined_by_or
            and len(spread) > 1
            and all(isinstance(one, Interval | Group) for one in spread)
        ):
            return (Group("union", tuple(spread)),)
        return tuple(spread)

    def _statement(self) -> Node:
        if not (self._take("command", "approx") or self._take("=")):
            self._take("command", "therefore")
        sides, operators = [self._sets()], []
        while operator := self._relation():
            self._place += 1
            operators.append(operator)
            sides.append(self._sets())
        if not operators:
            if self._take(":"):
                return Group("ratio", (sides[0], self._statement()))
            if self._take("command", "in"):
                return Group("member", (sides[0], self._sets()))
            return sides[0]
        return Relation(tuple(sides), tuple(operators))

    def _relation(self) -> str | None:
        token = self._peek()
        if token.kind == "command":
            return RELATIONS.get(token.text)
        return RELATIONS.get(token.kind)

    def _sets(self) -> Node:
        left = self._sum()
        while (token := self._peek()).kind == "command" and token.text in {
            "cup",
            "cap",
            "setminus",
        }:
            self._place += 1
            kind = {"cup": "union", "cap": "intersection", "setminus": "difference"}[token.text]
            right = self._sum()
            if isinstance(left, Group) and left.kind == kind:
                left = Group(kind, (*left.items, right))
            else:
                left = Group(kind, (left, right))
        return left

    def _sum(self) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unread
        left = self._product()
        while True:
            if self._take("+"):
                left = Call("add", (left, self._product()))
            elif self._take("-"):
                left = Call("add", (left, Call("neg", (self._product(),))))
            elif self._take("command", "pm"):
                left = Call("add", (left, Call("pm", (self._product(),))))
            elif self._take("command", "mp"):
                left = Call("add", (left, Call("mp", (self._product(),))))
            else:
                self._depth -= 1
                return left

    def _product(self) -> Node:
        left = self._signed()
        while True:
            token = self._peek()
            if token.kind == "*" or (token.kind == "command" and token.text in {"cdot", "times"}):
                self._place += 1
                left = Call("mul", (left, self._signed()))
            elif token.kind == "/" or (token.kind == "command" and token.text == "div"):
                self._place += 1
                left = Call("div", (left, self._signed()))
            elif token.kind == "scale":
                self._place += 1
                left = Call("mul", (left, Num(Fraction(SCALES[token.text]))))
            elif isinstance(left, Words) or (isinstance(left, Quantity) and left.unit not in SIGNS):
                return left  # a unit ends a value; words are no factor
            elif token.kind in {"text", "unit"}:
                if not any(one == Call("pi") or isinstance(one, Num) for one in walk(left)):
                    raise Unread  # a letter and a word
                left = Quantity(left, self._unit())
            elif self._starts_factor():
                left = self._beside(left)
            else:
                return left

    def _beside(self, left: Node) -> Node:
        """A factor without an operator. A whole number beside a fraction of two is a mixed number."""
        before, token = self._peek(-1), self._peek()
        if token.kind == "number" and before.kind in {"number", "letter"}:
            raise Unread  # two numbers, or `x 2`
        mixed = before.kind == "number" and token == ("command", "frac", token.spaced)
        right = self._power()
        whole = left.args[0] if isinstance(left, Call) and left.name == "neg" else left
        if mixed and _whole(whole) and isinstance(right, Call) and all(map(_whole, right.args)):
            total = Call("add", (whole, right))
            return total if whole is left else Call("neg", (total,))
        return Call("mul", (left, right))

    def _starts_factor(self) -> bool:
        token = self._peek()
        if token.kind in {"number", "letter", "(", "{"}:
            return True
        return token.kind == "command" and token.text in FACTORS

    def _unit(self) -> str:
        unit = ""
        while True:
            token = self._peek()
            if token.kind in {"text", "unit"}:
                self._place += 1
                unit += (" " if unit else "") + token.text
            elif token.kind == "^" and unit:
                self._place += 1
                unit += "^" + self._digits()
            elif token.kind == "/" and self._peek(1).kind in {"text", "unit", "letter"}:
                self._place += 2
                unit += "/" + self._peek(-1).text
            else:
                return unit

    def _digits(self) -> str:
        braced = self._take("{")
        sign = "-" if self._take("-") else ""
        token = self._peek()
        self._need("number")
        if braced:
            self._need("}")
        return sign + token.text

    def _signed(self) -> Node:
        if self._take("-"):
            return Call("neg", (self._signed(),))
        if self._take("+"):
            return self._signed()
        if self._take("command", "pm"):
            return Call("pm", (self._signed(),))
        if self._take("command", "mp"):
            return Call("mp", (self._signed(),))
        return self._power()

    def _power(self) -> Node:
        base = self._postfix(self._atom())
        if self._take("^"):
            return self._postfix(Call("pow", (base, self._script())))
        return base

    def _script(self) -> Node:
        """An exponent: a group, or one signed atom."""
        if self._take("-"):
            return Call("neg", (self._script(),))
        self._take("+")
        token = self._peek()
        if token.kind == "number" and len(token.text) > 1 and token.text.isdigit():
            self._place += 1  # `x^10` means ten to people, and x to the one to LaTeX
            return Num(Fraction(token.text))
        atom = self._atom()
        return Call("pow", (atom, self._script())) if self._take("^") else atom

    def _postfix(self, node: Node) -> Node:
        while True:
            if self._take("!"):
                node = Call("factorial", (node,))
            elif self._take("%"):
                node = Quantity(node, "%")
            elif self._take("command", "degree"):
                node = Call("degree", (node,)) if self._degrees else Quantity(node, "degrees")
            elif self._peek().kind == "'" and isinstance(node, Sym):
                self._place += 1
                node = Sym(node.name + "'")
            elif self._peek().kind == "_" and isinstance(node, Num):
                self._place += 1
                node = Based(str(node.value), int(self._digits()))
            else:
                return node

    def _function(self, name: str) -> Node:
        base: tuple[Node, ...] = ()
        power: Node | None = None
        while True:
            if name == "log" and self._take("_"):
                base = (self._argument(),)
            elif self._take("^"):
                power = self._script()
            else:
                break
        argument = self._of(name)
        if name in TRIG and power == Call("neg", (number("1"),)):
            return Call("arc" + name, argument)
        called = Call(name, (*argument, *base))
        return Call("pow", (called, power)) if power else called

    def _of(self, name: str) -> tuple[Node, ...]:
        """The arguments of a function: those in brackets, else the factors up to the next function."""
        before, self._degrees = self._degrees, name in TRIG
        try:
            if self._peek().kind in {"(", "["}:
                self._place += 1
                items = self._items(self._sum())
                if not (self._take(")") or self._take("]")):
                    raise Unread
                return items
            left = self._signed()
            while self._starts_factor() and not (
                self._peek().kind == "(" or self._peek().text in FUNCTIONS
            ):
                left = self._beside(left)
            while self._peek().kind == "/" and self._peek(1).kind == "number":
                self._place += 1
                left = Call("div", (left, self._power()))
            return (left,)
        finally:
            self._degrees = before


def _whole(node: Node) -> bool:
    return isinstance(node, Num) and node.places is None
