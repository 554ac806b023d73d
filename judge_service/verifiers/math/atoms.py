"""Parses the innermost parts of an expression: numbers, letters, brackets, commands."""

from abc import abstractmethod
from fractions import Fraction

from judge_service.verifiers.math.cursor import Cursor
from judge_service.verifiers.math.forms import alternatives, as_interval
from judge_service.verifiers.math.nodes import Call, Group, Interval, Node, Num, Sym, Words
from judge_service.verifiers.math.tokens import ACCENTS, FUNCTIONS, GREEK, Token, Unread

CLOSES = {"lfloor": "rfloor", "lceil": "rceil", "lvert": "rvert", "langle": "rangle"}
NAMES = {"dbinom": "binom", "tbinom": "binom", "lg": "log"}
CALLS = {"lfloor": "floor", "lceil": "ceil", "lvert": "abs"}
INFINITY = Call("infty")
REAL = Interval(Call("neg", (INFINITY,)), INFINITY, "(", ")")
CONSTANTS: dict[str, Node] = {
    "pi": Call("pi"),
    "infty": INFINITY,
    "ldots": Sym("..."),
    "emptyset": Group("set", ()),
    "varnothing": Group("set", ()),
}


class Atoms(Cursor):
    """Parses the parts of an expression that begin with their own token."""

    @abstractmethod
    def _statement(self) -> Node:
        """Reads sides with relations between them."""

    @abstractmethod
    def _sets(self) -> Node:
        """Reads unions, intersections and differences of sums."""

    @abstractmethod
    def _sum(self) -> Node:
        """Reads a sum."""

    @abstractmethod
    def _function(self, name: str) -> Node:
        """Reads the power, the base and the argument of a function."""

    def _atom(self) -> Node:  # noqa: PLR0911  one line for each kind of token
        token = self._peek()
        self._place += 1
        match token.kind:
            case "number":
                return number(token.text)
            case "letter":
                return self._letter(token.text)
            case "text":
                return Words(token.text)
            case "(" | "[":
                return self._bracketed(token.kind)
            case "{":
                return self._braced()
            case "\\{":
                return self._set()
            case "|":
                inner = self._sum()
                self._need("|")
                return Call("abs", (inner,))
            case "command":
                return self._command(token.text)
        raise Unread

    def _braced(self) -> Node:
        inner = self._sets()
        if self._peek().kind == ",":  # a set whose braces are not escaped
            items = self._items(inner)
            self._need("}")
            return Group("set", items)
        self._need("}")
        return inner

    def _letter(self, letter: str) -> Node:
        name = letter + self._subscript()
        if name == "e":
            return Call("e")
        return Call("i") if name == "i" else Sym(name)

    def _subscript(self) -> str:
        if not self._take("_"):
            return ""
        token = self._peek()
        self._place += 1
        if token.kind in {"number", "letter", "text"}:
            return "_" + token.text
        if token.kind != "{":
            raise Unread
        name = ""
        while not self._take("}"):
            token = self._peek()
            if token.kind == "end":
                raise Unread
            name += token.text or token.kind
            self._place += 1
        return "_" + name

    def _items(self, first: Node) -> tuple[Node, ...]:
        items = [first]
        while self._take(",") or self._take(";"):
            items.append(self._statement())
        return tuple(items)

    def _bracketed(self, opening: str) -> Node:
        items = self._items(self._statement())
        token = self._peek()
        if token.kind not in {")", "]"}:
            raise Unread
        self._place += 1
        if len(items) == 1:
            if {opening, token.kind} in ({"(", "]"}, {"[", ")"}):
                raise Unread
            return items[0]
        if len(items) == 2 and (opening == "[" or token.kind == "]"):
            return Interval(*items, opening, token.kind)
        if opening == "[" or token.kind == "]":
            return Group("tuple" if opening == "[" and token.kind == "]" else "odd", items)
        return Group("tuple", items)

    def _set(self) -> Node:
        if self._take("\\}"):
            return Group("set", ())
        if self._peek().kind == "letter":
            start = self._place
            self._place += 1
            name = self._peek(-1).text + self._subscript()
            if self._take("command", "in"):
                self._sets()
            if self._take("|") or self._take(":") or self._take("command", "mid"):
                inner = self._items(self._statement())
                self._need("\\}")
                reading = as_interval(inner[0]) if len(inner) == 1 else None
                if isinstance(reading, Interval) and reading.of == name:
                    return reading
                return Group("builder", (Sym(name), *inner))
            self._place = start
        items = self._items(self._statement())
        self._need("\\}")
        return Group("set", tuple(one for item in items for one in alternatives(item)))

    def _command(self, name: str) -> Node:
        name = NAMES.get(name, name)
        if name in FUNCTIONS:
            return self._function(name)
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in {"frac", "binom"}:
            over, under = self._argument(), self._argument()
            return Call("div" if name == "frac" else name, (over, under))
        if name in GREEK:
            return Sym("\\" + name + self._subscript())
        return self._enclosed(name)

    def _enclosed(self, name: str) -> Node:
        """Parses a command with arguments."""
        if name == "sqrt":
            return self._root()
        if name in CLOSES:
            items = self._items(self._sum())
            self._need("command", CLOSES[name])
            return Group("tuple", items) if name == "langle" else Call(CALLS[name], items)
        if name == "mathbb":
            of = self._name()
            return REAL if of == "R" else Sym("set " + of)
        if name in ACCENTS:
            return Sym(name + " " + self._name() + self._subscript())
        if name == "begin":
            return self._matrix()
        raise Unread

    def _name(self) -> str:
        braced, name = self._take("{"), ""
        while (token := self._peek()).kind == "letter" or (
            token.kind == "command" and token.text in GREEK
        ):
            name += token.text
            self._place += 1
            if not braced:
                break
        if not name:
            raise Unread
        if braced:
            self._need("}")
        return name

    def _argument(self) -> Node:
        """Parses a group in braces, or one digit, letter, or command."""
        if self._take("{"):
            return self._braced()
        token = self._peek()
        if token.kind == "number" and token.text.isdigit() and len(token.text) > 1:
            self._tokens[self._place] = Token("number", token.text[1:])
            return Num(Fraction(token.text[0]))
        return self._atom()

    def _root(self) -> Node:
        degree: Node = Num(Fraction(2))
        if self._take("["):
            degree = self._sum()
            self._need("]")
        if self._take("{"):
            return Call("root", (self._braced(), degree))
        token = self._peek()
        if token.kind == "number":  # `√12` means twelve
            self._place += 1
            return Call("root", (number(token.text), degree))
        return Call("root", (self._atom(), degree))

    def _matrix(self) -> Node:
        self._need("{")
        kind = ""
        while self._peek().kind in {"letter", "text"}:
            kind += self._peek().text
            self._place += 1
        self._need("}")
        if not kind.endswith("matrix"):
            raise Unread
        rows: list[Node] = []
        row: list[Node] = []
        while True:
            row.append(self._sum())
            if self._take("&"):
                continue
            rows.append(Group("row", tuple(row)))
            row = []
            ended = self._take("newline")
            if self._take("command", "end"):
                break
            if not ended:
                raise Unread
        self._need("{")
        while self._peek().kind in {"letter", "text"}:
            self._place += 1
        self._need("}")
        return (
            Call("det", (Group("matrix", tuple(rows)),))
            if kind == "vmatrix"
            else Group("matrix", tuple(rows))
        )


def number(text: str) -> Num:
    whole, point, fixed = text.partition(".")
    figures = len((whole + fixed).lstrip("0"))
    return Num(
        Fraction(int(whole + fixed or "0"), 10 ** len(fixed)),
        len(fixed) if point else None,
        figures,
    )
