"""Finds tests that no answer can pass, as far as their text alone proves it.

Such a test gives every answer the same low score, so its row has `cannot_judge` instead. What may not be
evaluated (`x or f`, the body of an `if` or `try`) proves nothing.
"""

import ast
from collections.abc import Iterator, Sequence
from functools import lru_cache

from judge_service.verifiers.code.suite import Program, Statement, Step
from judge_service.verifiers.sandbox.sandbox import ASK


def why_impossible(steps: Sequence[Step], output_bytes: int) -> str:
    """Why no answer can pass all of the tests, as part of a sentence; empty if that is not certain.

    output_bytes: the most that the code may print.
    """
    programs = [step for step in steps if isinstance(step, Program)]
    if any(len(one.stdout.strip().encode()) > output_bytes for one in programs):
        return "a program must print more than `output_kb` allows"
    printed: dict[str, str] = {}
    for one in programs:  # each run is of a new program
        if printed.setdefault(one.stdin, one.stdout).split() != one.stdout.split():
            return "two of them expect different output of the same input"
    return _of_statements(tuple(step for step in steps if isinstance(step, Statement)))


@lru_cache(maxsize=256)  # the rollouts of one prompt share their tests
def _of_statements(statements: Sequence[Statement]) -> str:
    trees = [ast.parse(one.text) for one in statements]
    called = {name for tree in trees for name in _called(tree)}
    tests = [
        tree
        for one, tree in zip(statements, trees, strict=True)
        if one.is_test or isinstance(tree.body[0], ast.FunctionDef)
    ]
    for node in (node for tree in tests if _asks(tree) for node in _evaluated(tree)):
        match node:
            case ast.Assert(test=ast.Constant(value=value)) if not value:
                return "one of them asserts what is never true"
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text))]) if (
                name == ASK and text in called
            ):
                return f"one of them takes `{text}` as a value, and a function is not plain data"
    return ""


def _asks(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Name) and node.id == ASK for node in ast.walk(tree))


def _returns(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.Return) for node in ast.walk(tree))


def _called(tree: ast.AST) -> Iterator[str]:
    """The functions of the code that a test calls: the names in front of a call's bracket."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[ast.Constant(value=str(text)), *rest]) if (
                name == ASK
            ):
                if rest and text.isidentifier():
                    yield text
                for inner in ast.walk(ast.parse(text, mode="eval")):
                    match inner:
                        case ast.Call(func=ast.Name(id=function)):
                            yield function


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a statement that Python surely evaluates, if none before them fails."""
    yield node
    match node:
        case ast.Module(body=parts):
            inner: Sequence[ast.AST] = parts
        case ast.FunctionDef(name=name, body=parts) if name.startswith("test") and not _returns(
            node
        ):
            inner = parts  # a test function is called
        case ast.Assert(test=test):
            inner = [test]
        case ast.BoolOp(values=[first, *_]) | ast.IfExp(test=first):
            inner = [first]
        case ast.Compare(left=left, comparators=[second, *_]):
            inner = [left, second]
        case ast.Lambda() | ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
            inner = []
        case ast.expr() | ast.Expr() | ast.Assign() | ast.keyword():
            inner = list(ast.iter_child_nodes(node))
        case _:
            inner = []
    for part in inner:
        yield from _evaluated(part)
