"""A position in a list of tokens."""

from judge_service.verifiers.math.tokens import Token, Unread


class Cursor:
    """Reads the tokens of one text in order."""

    def __init__(self, given: list[Token]) -> None:
        self._tokens = given
        self._place = 0

    def _peek(self, ahead: int = 0) -> Token:
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else Token("end")

    def _take(self, kind: str, text: str = "") -> bool:
        token = self._peek()
        if token.kind == kind and (not text or token.text == text):
            self._place += 1
            return True
        return False

    def _need(self, kind: str, text: str = "") -> None:
        if not self._take(kind, text):
            raise Unread
