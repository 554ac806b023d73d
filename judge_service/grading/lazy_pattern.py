"""Regular expressions that are compiled when they are first used: a cold start pays for every other one."""

import re
from functools import cached_property


class LazyPattern:
    """What `re.compile` takes. For patterns that nearly no text needs."""

    def __init__(self, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> None:
        self.pattern = pattern
        self._flags = flags

    def __repr__(self) -> str:
        return f"LazyPattern({self.pattern!r})"

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self._flags)
