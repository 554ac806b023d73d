"""Regular expressions that are compiled on first use, so that a cold start does not pay for them."""

import re
from functools import cached_property


class LazyPattern:
    """A regular expression that is compiled on first use. Takes the arguments of `re.compile`.

    For patterns that few texts need.
    """

    def __init__(self, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> None:
        self.pattern = pattern
        self._flags = flags

    def __repr__(self) -> str:
        return f"LazyPattern({self.pattern!r})"

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self._flags)
