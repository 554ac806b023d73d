"""Imports what the running service will import, so that its byte code is in the image, and nothing else's.

    /opt/judge/bin/python warm.py EXTRAS

On a read-only file system Python cannot keep byte code and would compile at every start; byte code
of everything that is installed would be three times as large. It also fails the build of an image in
which something is missing.
"""

import sys
from importlib import import_module

MODULES = {
    "": ("judge_service.cli", "judge_service.service", "judge_service.assembly"),
    "aws": ("aioboto3", "aiobotocore.credentials", "aiohttp"),
    "embedded": ("judge_service.backends.embedded.judge", "numpy", "onnxruntime", "tokenizers"),
    "redis": ("redis.asyncio",),
    "service": ("judge_service.api.app", "uvicorn.protocols.http.httptools_impl", "uvloop"),
}
"""By extra of the package; the empty one is always there."""


def main() -> None:
    for extra in ("", *filter(None, sys.argv[1].split(","))):
        for module in MODULES[extra]:
            import_module(module)


if __name__ == "__main__":
    main()
