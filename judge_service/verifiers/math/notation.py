r"""Converts mathematical text to one notation, LaTeX in ASCII. No digit, sign, or operator is lost.

Unicode's signs become commands (`½`, `√2`, `x²`, `≤`), spaced and Indian thousands one number, `1e-3` a
power of ten, a mixed number (`3 1/2`) a sum in braces, and a repeating decimal (`0.\overline{3}`) a fraction.
"""

import re
import unicodedata
from fractions import Fraction

SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ"
SUB = "₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙ"
PLAIN = "0123456789+-()n"
RAISED = re.compile(f"[{SUPER}]+")
LOWERED = re.compile(f"[{SUB}]+")
TO_PLAIN = str.maketrans(SUPER + SUB, PLAIN + PLAIN)

SIGNS = str.maketrans(
    {
        **dict.fromkeys("−–‒﹣－", "-"),
        **dict.fromkeys("×✕⨯", r"\times "),
        **dict.fromkeys("·⋅∙", r"\cdot "),
        "÷": r"\div ",
        **dict.fromkeys("⁄∕", "/"),
        "°": r"^\circ ",
        "º": r"^\circ ",
        "√": r"\sqrt ",
        "∛": r"\sqrt[3] ",
        "∜": r"\sqrt[4] ",
        "∞": r"\infty ",
        **dict.fromkeys("≤⩽", r"\le "),
        **dict.fromkeys("≥⩾", r"\ge "),
        "≠": r"\ne ",
        "≈": r"\approx ",
        "±": r"\pm ",
        "∓": r"\mp ",
        "∪": r"\cup ",
        "∩": r"\cap ",
        "∈": r"\in ",
        "∖": r"\setminus ",
        "∅": r"\emptyset ",
        "ℝ": r"\mathbb{R}",
        "ℤ": r"\mathbb{Z}",
        "ℕ": r"\mathbb{N}",
        "ℚ": r"\mathbb{Q}",
        "ℂ": r"\mathbb{C}",
        "π": r"\pi ",
        "α": r"\alpha ",
        "β": r"\beta ",
        "γ": r"\gamma ",
        "δ": r"\delta ",
        "ε": r"\epsilon ",
        "θ": r"\theta ",
        "λ": r"\lambda ",
        "μ": r"\mu ",
        "ρ": r"\rho ",
        "σ": r"\sigma ",
        "τ": r"\tau ",
        "φ": r"\phi ",
        "ω": r"\omega ",
        "…": r"\ldots ",
        "∠": r"\angle ",
        "⌊": r"\lfloor ",
        "⌋": r"\rfloor ",
        "⌈": r"\lceil ",
        "⌉": r"\rceil ",
        "∣": "|",
        "⟨": r"\langle ",
        "⟩": r"\rangle ",
        "′": "'",
        "¹": "1",
    }
)
VULGAR = re.compile("[¼½¾⅐-⅞]")

SPACE = r"(?:\s|\\[,;:! ]|~|\{\})"
SPACING = re.compile(
    r"(?<!\\)\\[,;:]|\\(?:quad|qquad|displaystyle|textstyle|limits|bigl?|bigr|Bigl?|Bigr)(?![A-Za-z])|(?<!\\)\\(?=\s)|~"
)
SIZES = re.compile(r"\\(?:left|right|mleft|mright)(?![A-Za-z])\.?")
SYNONYMS = (
    (re.compile(r"(?<!\\)\\[()\[\]]"), " "),
    (re.compile(r"\{([^{}]{1,200})\\over(?![A-Za-z])([^{}]{1,200})\}"), r"\\frac{\1}{\2}"),
    (re.compile(r"\{([^{}]{1,99})\\choose(?![A-Za-z])([^{}]{1,99})\}"), r"\\binom{\1}{\2}"),
    (re.compile(r"^([^{}\\]{1,99})\\over(?![A-Za-z])([^{}\\]{1,99})$"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"(?<!\\)\\!\s?"), ""),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\(?:leq|leqslant)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geq|geqslant)(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\neq(?![A-Za-z])"), r"\\ne "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"!="), r"\\ne "),
    (re.compile(r"\\(?:dots|cdots)(?![A-Za-z])|\.\.\."), r"\\ldots "),
    (
        re.compile(r"\{?\^\{?\s?\\(?:circ|degree)(?![A-Za-z])\s?\}?|\\degree(?![A-Za-z])"),
        r"\\degree ",
    ),
    (re.compile(r"\\%"), "%"),
    (
        re.compile(
            r"(?<![A-Za-z\\])(?:percent|pct)(?:age)?(?![A-Za-z])|\\text\{\s*(?:percent|pct)\s*\}"
        ),
        "%",
    ),
)
MONEY = re.compile(r"\\?[$€£¥₹]")

GROUPED = re.compile(
    rf"(?<![\d.,_^])(\d{{1,3}})((?:{SPACE}{{1,3}}\d{{3}})+)(?!\d|{SPACE}*[/^])|(?<![\d.,])(\d{{1,3}})((?:'\d{{3}})+)(?!\d)"
)
INDIAN = re.compile(r"(?<![\d.,])\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])")
DIGIT = re.compile(r"\d")
EXPONENT = re.compile(r"(?<![\w.])(\d+\.?\d*|\.\d+)[eE]([+-]?\d{1,4})(?![\w.])")
SLASHED = re.compile(rf"(?<![\w.^])(\d{{1,9}}){SPACE}{{1,3}}(\d{{1,9}})\s?/\s?(\d{{1,9}})(?![\w.])")
OVERLINE = re.compile(
    r"(?<![\w.])(\d*)\.(\d*)\\(?:overline|bar|dot)\s?\{?(\d+)\}?(?:(\d*)\\dot\s?\{?(\d)\}?)?"
)
ENDLESS = re.compile(r"(?<![\w.])(\d*)\.(\d*?)(\d{1,6}?)\3{1,30}\s?\\ldots")
MAX_PASSES = 10


def normal(text: str) -> str:
    """Converts a text to LaTeX in ASCII. Spaces remain, because they separate numbers and units."""
    if not text.isascii():
        text = _ascii(text)
    text = MONEY.sub(" ", text)
    text = GROUPED.sub(lambda found: "".join(DIGIT.findall(found[0])), text)
    text = SLASHED.sub(r"{(\1+\\frac{\2}{\3})}", text)
    for pattern, other in SYNONYMS:
        text = pattern.sub(other, text)
    text = OVERLINE.sub(_repeating, text)
    text = ENDLESS.sub(_endless, text)
    text = SIZES.sub("", SPACING.sub(" ", text))
    text = INDIAN.sub(lambda found: found[0].replace(",", ""), text)
    text = EXPONENT.sub(r"{(\1\\times 10^{\2})}", text)
    return " ".join(text.split()).strip()


def _ascii(text: str) -> str:
    text = RAISED.sub(lambda found: "^{" + found[0].translate(TO_PLAIN) + "}", text)
    text = LOWERED.sub(lambda found: "_{" + found[0].translate(TO_PLAIN) + "}", text)
    text = VULGAR.sub(_vulgar, text).translate(SIGNS)
    return unicodedata.normalize("NFKC", text).translate(SIGNS)


def _vulgar(found: re.Match[str]) -> str:
    value = Fraction(unicodedata.numeric(found[0])).limit_denominator(10)
    return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _repeating(found: re.Match[str]) -> str:
    whole, fixed, again = found[1] or "0", found[2], found[3] + (found[4] or "") + (found[5] or "")
    return _fraction(whole, fixed, again)


def _endless(found: re.Match[str]) -> str:
    digits = found[0].rpartition(".")[2]
    if (
        len(found[3]) == 1
        and len(re.sub(r"\D", "", found[0].partition(".")[2])) - len(found[2]) < 3
    ):
        return found[0]
    return _fraction(found[1] or "0", found[2], found[3]) if digits else found[0]


def _fraction(whole: str, fixed: str, again: str) -> str:
    shift = 10 ** len(fixed)
    over = int(whole + fixed) * (10 ** len(again) - 1) + int(again)
    return rf"{{\frac{{{over}}}{{{shift * (10 ** len(again) - 1)}}}}}"
