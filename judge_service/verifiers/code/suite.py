"""Makes steps of tests: calls of the candidate's code run in its own sandboxed interpreter (room).

    assert f([3, 1]) == [1, 3]     becomes     assert _ask_("f([3, 1])") == [1, 3]

The rewritten statement runs in the tests' room; only the text of the call goes to the candidate's room. The
text of tests is trusted, because it comes with the data set, but it is bounded.
"""

import ast
import builtins
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from judge_service.verifiers.sandbox.sandbox import ASK

MAX_TESTS = 1000
MAX_TEXT = 200_000
"""Bounds of the tests of one row: their number and their characters in all."""

CONVERTERS = frozenset({"dict", "list", "set", "sorted", "tuple"})
"""Functions that are called with the call inside them: a list can leave a room, an iterator cannot."""

PREDICATES = frozenset(
    {"all", "any", "bool", "callable", "hasattr", "isinstance", "issubclass", "len", "type"}
)
"""Built-in functions that tests use themselves; the entry point may still have their name."""

ASKED = re.compile(rf"{ASK}\(['\"]([^\n]{{1,400}})")
NAME = re.compile(r"[A-Za-z_]\w*")
LONG = re.compile(r"\d{4300}")


class Statement(Struct, frozen=True):
    """A statement for the tests' room. is_test: it calls the candidate and asserts something."""

    text: str
    is_test: bool


class Example(Struct, frozen=True):
    """A call whose value is compared with a JSON value."""

    call: str
    expected: Any


class Program(Struct, frozen=True):
    """A run of the whole code as a program: its input and its expected output."""

    stdin: str
    stdout: str


Step = Statement | Example | Program


class Suite(Struct, frozen=True):
    """The steps of a row.

    setup: statements that run in both rooms, in the candidate's after its code.
    own_builtin: a function with the name of a built-in one that the code must define, because otherwise
        Python's would be tested; "" if there is none.
    """

    setup: tuple[str, ...]
    steps: tuple[Step, ...]
    own_builtin: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Names in the calls of the code; those that it must define are among them."""
        texts = [step.text for step in self.steps if isinstance(step, Statement)]
        calls = [call for text in texts for call in ASKED.findall(text)]
        calls += [step.call for step in self.steps if isinstance(step, Example)]
        return frozenset(name for call in calls for name in NAME.findall(call))

    @property
    def has_long_numbers(self) -> bool:
        """Whether a program reads or prints a number that `int` refuses by default."""
        programs = [step for step in self.steps if isinstance(step, Program)]
        return any(LONG.search(one.stdin) or LONG.search(one.stdout) for one in programs)

    @property
    def total(self) -> int:
        """The number of tests among the steps."""
        return sum(not isinstance(step, Statement) or step.is_test for step in self.steps)


def read_suite(tests: Any, setup: str = "", entry_point: str = "") -> Suite:
    """Reads tests in any of their forms.

    tests: text with asserts (also HumanEval's `def check(candidate)` and `def test_...()`), a list of
        such texts, or a list of objects `{"call", "expected"}` or `{"stdin", "stdout"}`.
    entry_point: the name for which `candidate` stands.

    Raises ValueError with the reason if there is no test.
    """
    try:
        suite = _read(tests, setup, entry_point)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("they are not valid Python") from None
    if not suite.total:
        raise ValueError("none of them calls the code")
    if suite.total > MAX_TESTS:
        raise ValueError(f"there are {suite.total}, and at most {MAX_TESTS} are run")
    return suite


def _read(tests: Any, setup: str, entry_point: str) -> Suite:
    if isinstance(tests, str):
        return _from_text((tests,), setup, entry_point, split=True)
    if isinstance(tests, Sequence) and tests:
        if all(isinstance(one, str) for one in tests):
            return _from_text(tuple(tests), setup, entry_point, split=False)
        if all(isinstance(one, Mapping) for one in tests):
            steps = tuple(map(_from_object, tests))
            calls = [
                ast.parse(one.call, mode="eval").body for one in steps if isinstance(one, Example)
            ]
            return Suite(_statements(setup), steps, _own_builtin(calls, entry_point))
    raise ValueError("they are neither text nor a list of texts or objects")


def _from_object(test: Mapping[str, Any]) -> Step:
    if isinstance(test.get("call"), str) and "expected" in test:
        return Example(test["call"], test["expected"])
    if isinstance(test.get("stdin"), str) and isinstance(test.get("stdout"), str):
        return Program(test["stdin"], test["stdout"])
    raise ValueError("an object has neither `call` and `expected` nor `stdin` and `stdout`")


def _statements(text: str) -> tuple[str, ...]:
    return tuple(ast.unparse(node) for node in ast.parse(text).body)


@lru_cache(maxsize=256)  # the rollouts of one prompt share their tests
def _from_text(tests: tuple[str, ...], setup: str, entry_point: str, *, split: bool) -> Suite:
    if sum(map(len, tests)) + len(setup) > MAX_TEXT:
        raise ValueError(f"they have more than {MAX_TEXT} characters")
    bodies: list[list[ast.stmt]] = []
    aliases: dict[str, str] = {}
    for test in tests:
        body = _unrolled(ast.parse(test).body, entry_point, aliases)
        bodies += [[node] for node in body] if split else [body]
    trusted = _bound(ast.parse(setup).body)
    own = _own_builtin([_subject(one) for body in bodies for one in _asserts(body)], entry_point)
    kept = _bound(node for body in bodies for node in body) - aliases.keys()
    bodies = [[_kept_by_code(node, trusted | kept) for node in body] for body in bodies]
    local = _bound(node for body in bodies for node in body) - aliases.keys()
    if own in trusted | local:
        own = ""
    asking = Asking(trusted | {ASK}, local, aliases | ({own: own} if own else {}))
    return Suite(_statements(setup), tuple(asking.step(body) for body in bodies if body), own)


def _own_builtin(calls: Sequence[ast.expr], entry_point: str) -> str:
    """The built-in name that the code must define: the entry point, else the one that every test calls.

    calls: what each test looks at. A test that calls only Python's functions would test nothing.
    """
    if hasattr(builtins, entry_point):
        return entry_point
    names = {
        call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
        for call in calls
    }
    [name, *others] = names or {""}
    if others or name in PREDICATES or not hasattr(builtins, name):
        return ""
    foreign = (one for call in calls for one in _read_names(call) if not hasattr(builtins, one))
    return name if not any(foreign) else ""


def _asserts(body: Iterable[ast.stmt]) -> Iterable[ast.Assert]:
    return (node for one in body for node in ast.walk(one) if isinstance(node, ast.Assert))


def _subject(asserted: ast.Assert) -> ast.expr:
    """The side of an assertion that is a call: `f(1)` in `assert not f(1)` and in `assert 2 == f(1)`."""
    match asserted.test:
        case ast.UnaryOp(operand=one):
            return one
        case ast.Compare(left=ast.Call() as one):
            return one
        case ast.Compare(comparators=[one, *_]):
            return one
    return asserted.test


def _kept_by_code(node: ast.stmt, known: set[str]) -> ast.stmt:
    """An object in a variable (`s = Solution()`) stays in the candidate's room, under its name."""
    match node:
        case ast.Assign(
            targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id=kind)) as made
        ) if kind[:1].isupper() and kind not in known and not hasattr(builtins, kind):
            if not set(_read_names(made)) & (known - {kind}):
                text = f"globals().__setitem__({name!r}, {ast.unparse(made)})"
                asked = ast.Call(ast.Name(ASK, ast.Load()), [ast.Constant(text)], [])
                return ast.fix_missing_locations(ast.Expr(asked))
    return node


def _unrolled(body: list[ast.stmt], entry_point: str, aliases: dict[str, str]) -> list[ast.stmt]:
    """A module's statements, with test functions replaced by their statements."""
    statements: list[ast.stmt] = []
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == "check" and len(node.args.args) == 1:
            aliases[node.args.args[0].arg] = entry_point or _checked(body)
            statements += node.body
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            statements.append(node)
            statements.append(ast.Expr(ast.Call(ast.Name(node.name, ast.Load()), [], [])))
        elif not _is_call_of_check(node):
            statements.append(node)
    return statements


def _is_call_of_check(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(ast.Call(func=ast.Name(id="check"))):
            return True
    return False


def _checked(body: list[ast.stmt]) -> str:
    """The name `f` in a module's `check(f)`."""
    for node in body:
        match node:
            case ast.Expr(ast.Call(func=ast.Name(id="check"), args=[ast.Name(id=name)])):
                return name
    raise ValueError("`check` is not called, and no field names its function")


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that gets a value in these statements."""
    names: set[str] = set()
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.ExceptHandler(name=str(name)):
                names.add(name)
            case ast.alias(name=name, asname=asname):
                names.add(asname or name.partition(".")[0])
    return names


class Asking(ast.NodeTransformer):
    """Replaces uses of the candidate's code in a test by `_ask_(...)`.

    A name that neither Python nor the tests define belongs to the candidate. trusted: names of the set-up,
    which both rooms have. local: names of the tests, whose values are passed as arguments. aliases: other
    names of the candidate, such as `candidate`.
    """

    def __init__(self, trusted: set[str], local: set[str], aliases: Mapping[str, str]) -> None:
        self._trusted = trusted
        self._local = local
        self._aliases = aliases
        self._asked = 0
        self._depending: set[str] = set()

    def step(self, body: list[ast.stmt]) -> Statement:
        """The step of a statement, or of several statements that are one test."""
        before = self._asked
        depends = any(name in self._depending for node in body for name in _read_names(node))
        asserts = any(_asserts(body))
        rewritten = [ast.fix_missing_locations(self.visit(node)) for node in body]
        depends = depends or self._asked > before
        if depends:
            self._depending |= _bound(body)
        is_test = depends and (asserts or _is_call_of_test(body))
        is_test = is_test and not all(isinstance(node, ast.FunctionDef) for node in body)
        return Statement("\n".join(map(ast.unparse, rewritten)), is_test)

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, ast.expr) and self._is_candidates(node):
            return self._ask(node)
        return super().visit(node)

    def _is_candidates(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[inner], keywords=[]) if (
                name in CONVERTERS
                and name not in self._trusted | self._local
                and name not in self._aliases
            ):
                return self._is_candidates(inner)
            case ast.Call(func=inner) | ast.Attribute(value=inner) | ast.Subscript(value=inner):
                return self._is_candidates(inner)
            case ast.Name(id=name, ctx=ast.Load()):
                known = name in self._trusted or name in self._local
                return name in self._aliases or not (known or hasattr(builtins, name))
        return False

    def _ask(self, node: ast.expr) -> ast.expr:
        if not self._free(node) & self._local:
            return self._question(node)
        if isinstance(node, ast.Call) and not self._free(node.func) & self._local:
            args = ast.List([self.visit(one) for one in node.args], ast.Load())
            names: list[ast.expr | None] = [
                ast.Constant(one.arg) if one.arg else None for one in node.keywords
            ]
            kwargs = ast.Dict(names, [self.visit(one.value) for one in node.keywords])
            return self._question(node.func, args, kwargs)
        return self.generic_visit(node)  # type: ignore[return-value]  # an expression stays one

    def _question(self, node: ast.expr, *arguments: ast.expr) -> ast.expr:
        self._asked += 1
        text = ast.unparse(Renaming(self._aliases).visit(node))
        return ast.Call(ast.Name(ASK, ast.Load()), [ast.Constant(text), *arguments], [])

    def _free(self, node: ast.expr) -> set[str]:
        return set(_read_names(node)) - _bound([node])


class Renaming(ast.NodeTransformer):
    """Replaces aliases by the real names."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)


def _read_names(node: ast.AST) -> Iterable[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))


def _is_call_of_test(body: list[ast.stmt]) -> bool:
    match body:
        case [*_, ast.Expr(ast.Call(func=ast.Name(id=name)))]:
            return name.startswith("test")
    return False
