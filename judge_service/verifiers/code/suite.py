"""Tests as text, made into steps for two rooms: whatever calls the candidate's code is asked of its room.

    assert f([3, 1]) == [1, 3]     becomes     assert _ask_("f([3, 1])") == [1, 3]

The rewritten statement runs in the tests' room; only the text of the call goes to the candidate's. The
text of tests is trusted (it comes with the data set); it is still bounded.
"""

import ast
import builtins
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from judge_service.verifiers.sandbox.sandbox import ASK

MAX_TESTS = 1000
MAX_TEXT = 200_000
"""Bounds of the tests of one row: how many, and characters in all."""

CONVERTERS = frozenset({"dict", "list", "set", "sorted", "tuple"})
"""Asked together with the call inside them: an iterator does not leave its room, a list does."""


class Statement(Struct, frozen=True):
    """Runs in the tests' room. is_test: it depends on the candidate, and it asserts something."""

    text: str
    is_test: bool


class Example(Struct, frozen=True):
    """A call whose value is compared with a JSON value."""

    call: str
    expected: Any


class Program(Struct, frozen=True):
    """The whole code run as a program: its input, and what it must print."""

    stdin: str
    stdout: str


Step = Statement | Example | Program


class Suite(Struct, frozen=True):
    """setup: statements that run in both rooms, after the candidate's code in its own."""

    setup: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def total(self) -> int:
        """How many of the steps are tests."""
        return sum(not isinstance(step, Statement) or step.is_test for step in self.steps)


def read_suite(tests: Any, setup: str = "", entry_point: str = "") -> Suite:
    """Tests in any form they come in.

    tests: text with asserts (also HumanEval's `def check(candidate)` and `def test_...()`), a list of
        such texts, or a list of objects `{"call", "expected"}` or `{"stdin", "stdout"}`.
    entry_point: what `candidate` stands for.

    Raises ValueError, whose text says what is wrong, if there is no test in them.
    """
    try:
        suite = _read(tests, setup, entry_point)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("they are no Python that can be read") from None
    if not suite.total:
        raise ValueError("there is none among them that asks the code anything")
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
            return Suite(_statements(setup), tuple(map(_from_object, tests)))
    raise ValueError("they are neither text, nor a list of texts or of objects")


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
    local = _bound(node for body in bodies for node in body) - aliases.keys()
    asking = Asking(trusted, local, aliases)
    return Suite(_statements(setup), tuple(asking.step(body) for body in bodies if body))


def _unrolled(body: list[ast.stmt], entry_point: str, aliases: dict[str, str]) -> list[ast.stmt]:
    """Statements of a module with those of its test functions in their place."""
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
    """The `f` of a module's `check(f)`."""
    for node in body:
        match node:
            case ast.Expr(ast.Call(func=ast.Name(id="check"), args=[ast.Name(id=name)])):
                return name
    raise ValueError("`check` is not called, and nothing says which function it is for")


def _bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Every name that is given a value anywhere in these."""
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
    """Puts `_ask_(...)` where a test uses the candidate's code.

    A name that neither Python nor the tests define is the candidate's. trusted: names of the set-up, which
    both rooms know. local: names of the tests, whose values travel as arguments. aliases: other
    names of the candidate's, such as `candidate`.
    """

    def __init__(self, trusted: set[str], local: set[str], aliases: Mapping[str, str]) -> None:
        self._trusted = trusted
        self._local = local
        self._aliases = aliases
        self._asked = 0
        self._depending: set[str] = set()

    def step(self, body: list[ast.stmt]) -> Statement:
        """A statement, or several that are one test."""
        before = self._asked
        depends = any(name in self._depending for node in body for name in _read_names(node))
        asserts = any(isinstance(node, ast.Assert) for outer in body for node in ast.walk(outer))
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
                name in CONVERTERS and name not in self._trusted | self._local
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
    """Puts the real names in the place of aliases."""

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
