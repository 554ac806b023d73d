"""Compares mathematics in a worker process, with this package's parser; math-verify handles the rest.

math-verify salvages a part of a text that it cannot parse, drops letters as units, and ignores characters
that its grammar does not know. So it is asked for sums, integrals and limits only, in texts whose every token
is known.
"""

import re
from functools import lru_cache
from importlib import import_module
from typing import Any

from judge_service.verifiers.math.comparison import same
from judge_service.verifiers.math.notation import normal
from judge_service.verifiers.math.numeric import has_value
from judge_service.verifiers.math.reader import read
from judge_service.verifiers.math.tokens import Unread, tokens

FIRST = (
    (r"\frac{(x-2)(x+1)}{\sqrt{2}}", r"\frac{x^2-x-2}{\sqrt{2}}"),
    (r"[1,2)\cup\{3,\pi\}", r"\{\pi,3\}\cup[1,2)"),
    (r"\int_0^1 2x dx", "1"),
)
"""Pairs that a new process compares once: algebra, sets, an integral."""

ALGEBRA = re.compile(r"\\(?:i{0,2}int|oint|sum|prod|lim)(?![A-Za-z])")
"""The operators that math-verify handles."""

FIGURES = {"float_rounding": 15, "numeric_precision": 30}
"""Digits that math-verify compares. With its default, all decimals below 5e-7 are equal."""


class Mathematics:
    """The parser, math-verify, and its dependencies. Raises ImportError if one is missing."""

    def __init__(self) -> None:
        self._verify: Any = import_module("math_verify")
        self._basic: Any = import_module("sympy").Basic
        normalization = import_module("latex2sympy2_extended").NormalizationConfig
        self._latex: Any = self._verify.LatexExtractionConfig(
            normalization_config=normalization(
                basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="all"
            )
        )
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
        """Parses a text. The result is falsy if the text cannot be parsed completely.

        The rollouts of a group share their reference and often their answers.
        """
        try:
            found = read(text)
        except Unread:
            return self._parsed(text)
        return found if all(map(has_value, found)) else ()

    def equal(self, answer: str, reference: str, tolerance: float) -> bool | None:
        """Whether the texts are equivalent; `None` if the answer cannot be parsed completely.

        tolerance: relative, of numbers.
        """
        said, gold = self.read(answer), self.read(reference)
        if not said:
            return None
        if isinstance(said, tuple) and isinstance(gold, tuple):
            return same(said, gold, tolerance)
        said, gold = self._parsed(answer, always=True), self._parsed(reference, always=True)
        return bool(
            said and gold and self._verify.verify(gold, said, timeout_seconds=None, **FIGURES)
        )

    def _parsed(self, text: str, *, always: bool = False) -> list[Any]:
        """Parses a sum, an integral, or a limit with math-verify. always: parses any other text too."""
        written = normal(text)
        if not (always or ALGEBRA.search(written)):
            return []
        try:
            tokens(re.sub(r"\\(?:to|rightarrow)(?![A-Za-z])", "", ALGEBRA.sub(r"\\pi ", written)))
        except Unread:
            return []
        found = self._verify.parse(
            rf"\boxed{{{written}}}",
            [self._latex],
            fallback_mode="no_fallback",
            parsing_timeout=None,
        )
        return [one for one in found if isinstance(one, self._basic)]


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
