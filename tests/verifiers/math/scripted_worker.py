"""A worker with the real protocol that follows a script instead of using the library."""

import os
import signal
import sys
import time
from typing import Any

from judge_service.verifiers.math.library import Mathematics
from judge_service.verifiers.math.worker import main


class Scripted(Mathematics):
    def __init__(self) -> None:
        if sys.argv[2] == "129":
            sys.exit("it does not start")

    def read(self, text: str) -> Any:
        return self._do(text)

    def equal(self, answer: str, reference: str, tolerance: float) -> bool:
        self._do(answer)
        return answer == reference

    def _do(self, text: str) -> list[str]:
        match text:
            case "spin":
                while True:
                    pass
            case "sleep":
                time.sleep(60)
            case "eat":
                bytearray(1 << 30)
            case "grow":
                self.kept = b"x" * (140 << 20)
            case "die":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "nothing":
                return []
        return [text]


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), Scripted)
