"""Makes `.venv-trainers`: of OpenRLHF and NeMo-Gym, what their clients of a reward service import.

python tests/trainers/environment.py       # or: make trainers

Neither is installed whole: that takes GPUs' libraries and gigabytes. The packages below are what the two
client modules and NeMo-Gym's simple agent import; what they import and do not use here (ray, pandas,
torch) is replaced by doubles in the child processes of the tests.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
VENV = ROOT / ".venv-trainers"
PYTHON = VENV / "bin" / "python"

NEMO_GYM = "nemo-gym==0.4.0"
NEEDED_PYTHON = "3.13.14"
"""What NeMo-Gym says it needs; this version's code runs on 3.11, too."""

PACKAGES = (
    "openrlhf==0.11.2",
    "aiohappyeyeballs==2.7.1",
    "aiohttp==3.14.5",
    "aiosignal==1.4.0",
    "annotated-doc==0.0.7",
    "annotated-types==0.8.0",
    "antlr4-python3-runtime==4.9.3",
    "anyio==4.16.0",
    "attrs==26.1.0",
    "certifi==2026.10.19.post1",
    "charset-normalizer==3.5.3",
    "click==8.5.1",
    "distro==1.9.0",
    "fastapi==0.121.3",
    "frozenlist==1.8.0",
    "h11==0.16.0",
    "httpcore==1.0.9",
    "httpx==0.28.1",
    "idna==3.20",
    "itsdangerous==2.2.0",
    "jiter==0.19.0",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "multidict==7.2.1",
    "omegaconf==2.4.0",
    "openai==2.7.2",
    "orjson==3.13.0",
    "propcache==0.5.4",
    "pydantic==2.14.4",
    "pydantic-core==2.50.5",
    "pygments==2.21.0",
    "pyyaml==6.0.4",
    "requests==2.34.2",
    "rich==15.0.0",
    "sniffio==1.3.1",
    "starlette==0.49.3",
    "tqdm==4.70.1",
    "typing-extensions==4.16.0",
    "typing-inspection==0.4.5",
    "urllib3==2.8.0",
    "uvicorn==0.54.0",
    "yarl==1.25.1",
)


def make() -> None:
    """Makes it anew. Raises CalledProcessError if a package cannot be had."""
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--python", PYTHON]
    _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, VENV)
    _run(*install, "--compile-bytecode", *PACKAGES)  # without it each child compiles for seconds
    _run(*install, "--python-version", NEEDED_PYTHON, NEMO_GYM)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    make()
