"""Splits mathematics in one notation (`notation`) into tokens. Anything else is an error, never skipped."""

import re
from typing import NamedTuple


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


FUNCTIONS = _names(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp max min gcd lcm"
)
GREEK = _names(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi "
    "rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi "
    "Psi Omega ell hbar"
)
ACCENTS = _names("vec overrightarrow overline bar hat widehat tilde angle triangle mathcal")
STRUCTURE = _names(
    "frac sqrt binom dbinom tbinom pi infty le ge ne lt gt approx pm mp cup cap in setminus emptyset "
    "varnothing mathbb degree lfloor rfloor lceil rceil lvert rvert vert mid langle rangle cdot "
    "times div ldots text textbf textit textrm mathrm mathbf mathit mbox operatorname rm bf begin "
    "end to implies iff equiv colon therefore lbrace rbrace land lor"
)
COMMANDS = FUNCTIONS | GREEK | ACCENTS | STRUCTURE
CALCULATOR = {
    "sqrt": "sqrt", "pi": "pi", "oo": "infty", "inf": "infty", "infinity": "infty",
    "asin": "arcsin", "acos": "arccos", "atan": "arctan",
    **{name: name for name in (FUNCTIONS | GREEK) - {"max", "min", "ell", "hbar"}},
}  # fmt: skip
UNITS = _names(
    "mm cm km kg mg ml mL cc ft yd lb lbs oz mph kph mi min sec hr hrs rad deg Hz kHz kW kJ Pa mol "
    "sq rpm pts pcs in"
)
SCALES = {"dozen": 12, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SEPARATORS = frozenset({"and", "or"})
SHORT_WORD = 3
"""Longest run of letters that is a product of unknowns."""

TOKEN = re.compile(
    r"(?P<space>\s+)"
    r"|(?P<grouped>\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\d,]|\s?,\s?\d))"
    r"|(?P<number>\d+\.\d+|\d+\.(?!\d)|\.\d+|\d+)"
    r"|\\(?P<escaped>[{}|])"
    r"|(?P<newline>\\\\)"
    r"|\\(?P<command>[A-Za-z]+)"
    r"|(?P<word>[A-Za-z]+)"
    r"|(?P<sign>[-+*/^_=<>()\[\]{},;:|!%&'])"
)
TEXT_COMMANDS = _names("text textbf textit textrm mathrm mathbf mathit mbox operatorname")
BRACED = re.compile(r"\s?\{([^{}]*)\}")
MAX_TOKENS = 2_000


class Unread(Exception):
    """The text is not mathematics that this reader covers to its last character."""


class Token(NamedTuple):
    """kind: `number`, `command`, `letter`, `unit`, `text`, `scale`, `and`, or the sign itself."""

    kind: str
    text: str = ""
    spaced: bool = False


def tokens(text: str) -> list[Token]:
    """The tokens of a text. Raises Unread."""
    found: list[Token] = []
    place, spaced, depth = 0, False, 0
    while place < len(text):
        match = TOKEN.match(text, place)
        if match is None or len(found) > MAX_TOKENS:
            raise Unread
        kind, place = str(match.lastgroup), match.end()
        if kind == "space":
            spaced = True
            continue
        if kind == "grouped" and depth:  # within brackets a comma separates
            whole = match[0].partition(",")[0]
            place = match.start() + len(whole)
            found.append(Token("number", whole, spaced))
        elif kind == "command" and match["command"] in TEXT_COMMANDS:
            place = _text(text, place, match["command"], found, spaced=spaced)
        else:
            depth += match[0] in "([{" or match[0] == r"\{"
            depth -= match[0] in ")]}" or match[0] == r"\}"
            _add(kind, match, found, spaced=spaced)
        spaced = False
    return found


def _text(text: str, place: int, command: str, found: list[Token], *, spaced: bool) -> int:
    braced = BRACED.match(text, place)
    if braced is None:
        raise Unread
    content = " ".join(braced[1].split())
    if content in CALCULATOR and command != "text":
        found.append(Token("command", CALCULATOR[content], spaced))
    elif (
        len(content) == 1 and content.isalpha() and (content in "eid" or not _follows_number(found))
    ):
        found.append(Token("letter", content, spaced))
    elif content.strip(",; ").lower() in SEPARATORS:
        found.append(Token("and", content.strip(",; ").lower()))
    elif content.lower() in SCALES:
        found.append(Token("scale", content.lower()))
    elif re.fullmatch(r"[-+]?[\d.,/]+%?", content):
        found.extend(tokens(content))
    elif content:
        found.append(Token("text", content.lower(), spaced))
    return braced.end()


def _follows_number(found: list[Token]) -> bool:
    return bool(found) and found[-1].kind in {"number", "}", ")"}


def _add(kind: str, match: re.Match[str], found: list[Token], *, spaced: bool) -> None:
    if kind in {"number", "grouped"}:
        found.append(Token("number", match[0].replace(",", ""), spaced))
    elif kind == "escaped":
        found.append(Token("\\" + match["escaped"], "", spaced))
    elif kind == "newline":
        found.append(Token("newline"))
    elif kind == "command":
        if match["command"] not in COMMANDS:
            raise Unread
        found.append(Token("command", match["command"], spaced))
    elif kind == "word":
        _word(match["word"], found, spaced=spaced)
    else:
        found.append(Token(match[0], "", spaced))


def _word(word: str, found: list[Token], *, spaced: bool) -> None:
    lower = word.lower()
    if lower in SEPARATORS:
        found.append(Token("and", lower))
    elif word in CALCULATOR:
        found.append(Token("command", CALCULATOR[word], spaced))
    elif lower in SCALES:
        found.append(Token("scale", lower))
    elif word in UNITS and _follows_number(found):
        found.append(Token("unit", word, spaced))
    elif len(word) > SHORT_WORD:
        found.append(Token("text", lower, spaced))
    else:
        found.extend(Token("letter", letter, spaced) for letter in word)
