"""The Dockerfile, read instruction by instruction; `loadtest/image.py` builds it and starts what it built."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.deploy.conftest import ROOT, Run

Instruction = tuple[str, str]


def instructions() -> list[Instruction]:
    """Every instruction with its arguments on one line."""
    lines = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line[:1] not in {"#", ""}
    ]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def stages() -> dict[str, list[Instruction]]:
    """Instructions of each stage by its name, those it is made FROM first."""
    found: dict[str, list[Instruction]] = {}
    current: list[Instruction] = []
    for name, rest in instructions():
        if name == "FROM":
            source, _, own = rest.partition(" AS ")
            current = found[own] = [*found.get(source, []), (name, rest)]
        else:
            current.append((name, rest))
    return found


def last(stage: str, name: str) -> str:
    return [rest for found, rest in stages()[stage] if found == name][-1]


def test_the_linter_of_dockerfiles_has_nothing_to_say(run: Run) -> None:
    done = run("hadolint", "--no-color", "Dockerfile")

    assert done.stdout + done.stderr == ""


def test_the_linter_would_have_said_it(run: Run) -> None:
    assert "DL3006" in run("hadolint", "-", stdin="FROM python\n").stdout


def test_every_target_is_there_and_the_service_is_the_one_by_default() -> None:
    assert {"service", "sagemaker", "lambda", "sbom"} <= stages().keys()
    assert list(stages())[-1] == "service"


def test_every_base_can_be_pinned_by_an_argument() -> None:
    sources = {rest.split(" ")[0] for name, rest in instructions() if name == "FROM"}

    assert sources == {"${BASE}", "${LAMBDA_BASE}", "build", "runtime", "scratch"}


def test_nothing_is_fetched_but_packages_by_name_with_their_hashes() -> None:
    runs = [rest for name, rest in instructions() if name == "RUN"]
    installs = re.findall(r"pip(?: --python \S+)? install [^&]+", " && ".join(runs))

    assert not [name for name, _ in instructions() if name == "ADD"]
    assert not re.search(r"\b(curl|wget|git|https?:)\b", " ".join(runs))
    assert len(installs) == 5
    for install in installs:
        assert "--require-hashes" in install or "--no-deps /build/wheel/" in install


def test_any_builder_can_build_it() -> None:
    text = (ROOT / "Dockerfile").read_text()

    assert not re.search(r"--mount|--link|<<|^# *syntax", text, re.MULTILINE)


def test_the_service_runs_as_nobody_in_particular() -> None:
    assert last("service", "USER") == "10001:10001"
    assert not [name for name, _ in stages()["sagemaker"] if name == "USER"]


def test_serve_replaces_the_command_and_the_entrypoint_is_no_shell() -> None:
    for target in ("service", "sagemaker"):
        assert json.loads(last(target, "ENTRYPOINT")) == ["judge"]
        assert json.loads(last(target, "CMD")) == ["serve"]


def test_sagemaker_may_choose_the_port() -> None:
    label = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true"

    assert last("sagemaker", "LABEL") == label


def test_the_health_check_needs_no_other_program() -> None:
    check = json.loads(last("service", "HEALTHCHECK").partition("CMD ")[2])

    assert check[:2] == ["python3", "-c"]
    compile(check[2], "HEALTHCHECK", "exec")


def test_no_image_tells_onnxruntimes_makers_of_its_starts() -> None:
    assert "ORT_DISABLE_TELEMETRY=1" in last("runtime", "ENV")


def sources() -> list[str]:
    copies = [rest for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    return [source for rest in copies for source in rest.split(" ")[:-1]]


@pytest.mark.parametrize("source", sources())
def test_what_is_copied_exists_and_is_given_to_the_builder(source: str) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    given = [line[1:] for line in lines if line.startswith("!")]
    files = [path for path in [ROOT / source, *(ROOT / source).glob("*.py")] if path.is_file()]

    assert files
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        assert any(fnmatch(name, one) or name.startswith(f"{one}/") for one in given), name


def test_nothing_else_is_given_to_the_builder() -> None:
    assert "*" in Path(ROOT / ".dockerignore").read_text().splitlines()
