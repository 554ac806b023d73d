"""Uses math-verify in a worker: parses mathematics and compares two parsed texts."""

import contextlib
from functools import lru_cache
from importlib import import_module
from math import nan
from typing import Any
from zlib import crc32

FIRST = (
    (r"\boxed{\frac{(x-2)(x+1)}{\sqrt{2}}}", r"\boxed{\frac{x^2-x-2}{\sqrt{2}}}"),
    (r"\boxed{[1,2)\cup\{3,\pi\}}", r"\boxed{\{\pi,3\}\cup[1,2)}"),
    (r"\boxed{(1,2)}", r"\boxed{(2,1)}"),
)
"""Pairs that a new process compares once: algebra, sets, tuples."""

APART = 1e-3
"""Values with a larger relative difference are unequal without algebra, in a tenth of its time."""


class Mathematics:
    """math-verify and its dependencies. Raises ImportError if it is missing."""

    def __init__(self) -> None:
        self._verify: Any = import_module("math_verify")
        self._latex: Any = import_module("latex2sympy2_extended")
        self._expression: Any = import_module("sympy").Expr
        parse_in_two_stages()

    def warm_up(self) -> None:
        """Compares a few texts, so that no task pays for what the libraries build and import at first use.

        The first comparison of a process takes 0.2 to 0.5 s of CPU, the same comparison later 0.01 s. A
        right answer must not reach its limit because it was the first.
        """
        for answer, reference in FIRST:
            self.equal(answer, reference, 0.0)

    @lru_cache(maxsize=1024)  # noqa: B019  one object, which lives as long as its process
    def read(self, text: str) -> Any:
        """Parses a text: a list, empty if there is no mathematics in it.

        The rollouts of a group share their reference and often their answers.
        """
        return self._verify.parse(text, parsing_timeout=None)

    def equal(self, answer: str, reference: str, tolerance: float) -> bool | None:
        """Whether the texts are equivalent, `None` if there is no mathematics in the answer.

        tolerance: relative, of numbers.
        """
        said, gold = self.read(answer), self.read(reference)
        if not said:
            return None
        if "%" not in answer + reference:  # a percentage can mean two numbers
            by_value = self._equal_by_value(said[0], gold[0], tolerance)
            if by_value is not None:
                return by_value
        return bool(self._verify.verify(gold, said, timeout_seconds=None))

    def _equal_by_value(self, said: Any, gold: Any, tolerance: float) -> bool | None:
        """Compares by value: numbers within the tolerance are equal, distant values unequal; else `None`."""
        value, wanted = self._value(said), self._value(gold)
        apart = abs(value - wanted)  # compares as false with everything where one has no value
        if 0 < tolerance >= apart / (abs(wanted) or 1.0) and not gold.free_symbols:
            return True
        return False if apart > APART * max(1.0, abs(wanted)) else None

    def _value(self, read: Any) -> complex:
        """The value of an expression with a fixed value for each unknown; NaN if it has none."""
        if isinstance(read, self._expression) and not self._latex.is_expr_of_only_symbols(read):
            unknowns = {unknown: _point(unknown.name) for unknown in read.free_symbols}
            with contextlib.suppress(TypeError, ValueError, AttributeError, ArithmeticError):
                return complex(read.evalf(subs=unknowns))
        return complex(nan)


def _point(name: str) -> float:
    """The fixed value, between 0.5 and 1.5, for the unknown of that name."""
    return 0.5 + crc32(name.encode()) / 2**32


def parse_in_two_stages() -> None:
    """Makes the LaTeX parser try ANTLR's fast prediction first, which takes a third of the time.

    By ANTLR's documentation it finds the same tree as full prediction or reports an error; after an error
    full prediction follows. The library has no setting for it.
    """
    library: Any = import_module("latex2sympy2_extended.latex2sympy2")
    modes: Any = import_module("antlr4.atn.PredictionMode").PredictionMode
    converter: Any = library._Latex2Sympy  # noqa: SLF001  see above; a test notices when it has gone

    class TwoStages(converter):  # type: ignore[misc]  # the library has no types
        mode = modes.SLL

        def create_parser(self, latex: str) -> Any:
            parser = super().create_parser(latex)
            parser._interp.predictionMode = self.mode  # noqa: SLF001  as ANTLR's documentation does
            return parser

        def parse(self, latex: str) -> Any:
            try:
                return super().parse(latex)
            except Exception:  # noqa: BLE001  the library raises no other
                self.mode = modes.LL
                return super().parse(latex)

    if converter.__name__ != TwoStages.__name__:  # it is done once
        library._Latex2Sympy = TwoStages  # noqa: SLF001  see above
