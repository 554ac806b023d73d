"""Generates parts of the documentation: settings and options from the code, figures from result files.

python docs/generate.py            # rewrite
python docs/generate.py --check    # exit 1 and name the file if one is stale
"""

import json
import re
import sys
import tomllib
import types
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from judge_service.grading.rubric.schema import rubric_schema
from judge_service.settings import Key, keys
from judge_service.verifiers import MODULES

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "loadtest" / "results"
EXAMPLES = ROOT / "tests" / "data" / "verifiers" / "examples.toml"

INTRODUCTION = """# Settings

<!-- Written by `make docs` from judge_service/settings/; edit those. -->

Defaults first, then the TOML file (`--config`, or the variable `JUDGE_CONFIG`), then the environment.
An unknown key is an error that names the nearest known one. A `model`, or a section of a backend, that the
chosen `backend` does not read is an error too. In the environment `-` means "not set". `judge check`
validates the settings, `judge explain` shows what they result in.
"""


def settings_page() -> str:
    """`docs/settings.md`: one table per section, one row per key."""
    sections: dict[str, list[Key]] = {}
    for key in keys():
        sections.setdefault(key.name.rpartition(".")[0], []).append(key)
    parts = [INTRODUCTION]
    for section, members in sections.items():
        parts.append(f"\n## {f'[{section}]' if section else 'Top level'}\n")
        parts.append("| key | default | takes | what it does | variable |\n|---|---|---|---|---|")
        parts.extend(_row(key) for key in members)
    return "\n".join(parts) + "\n"


def _row(key: Key) -> str:
    return _cells(
        f"`{key.name}`",
        _default(key.default),
        _takes(key.type),
        key.description,
        f"`{key.variable}`",
    )


def _cells(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(value: Any) -> str:
    return "not set" if value is None else f"`{json.dumps(value)}`"


def _takes(annotation: Any) -> str:
    """A type for a reader: `number > 0`, ``one of `a`, `b` ``."""
    if get_origin(annotation) is Annotated:
        inner, *metas = get_args(annotation)
        bounds = [bound for meta in metas if isinstance(meta, Meta) for bound in _bounds(meta)]
        return f"{_takes(inner)} {', '.join(bounds)}".strip()
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(f"`{choice}`" for choice in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return _takes(next(arg for arg in get_args(annotation) if arg is not types.NoneType))
    if get_origin(annotation) is dict:
        return "table"
    if get_origin(annotation) is tuple:
        return "list of " + _takes(get_args(annotation)[0])
    return {str: "text", float: "number", int: "whole number", bool: "`true` or `false`"}[
        annotation
    ]


def _bounds(meta: Meta) -> Iterator[str]:
    for sign, bound in ((">", meta.gt), ("≥", meta.ge), ("<", meta.lt), ("≤", meta.le)):
        if bound is not None:
            yield f"{sign} {bound:g}"


def verifier_options() -> str:
    """Every kind of verifier: what it does, in its module's words, and its options."""
    parts = []
    for kind, name in sorted(MODULES.items()):
        module = import_module(f"judge_service.verifiers.{name}")
        rows = [_option(field) for field in msgspec.structs.fields(module.Options)]
        head = "| option | default | takes | what it does |\n|---|---|---|---|"
        said = (module.__doc__ or "").strip()
        parts += [f"### {kind}\n", f"{said}\n", "\n".join([head, *rows]), "", *_example(kind)]
    return "\n".join(parts)


def _example(kind: str) -> list[str]:
    """A rubric with the kind, and what it accepts and refuses, from the cases that the tests run."""
    example = tomllib.loads(EXAMPLES.read_text())[kind]
    rows = [
        _cells(_code(said), _code(reference), str(score))
        for said, reference, score in example["cases"]
    ]
    parts = [f"```toml\n{example['rubric'].strip()}\n```", ""]
    if row := example.get("row"):
        parts += [f"The row's other fields: `{json.dumps(row)}`", ""]
    return [*parts, "| response | reference | score |", "|---|---|---|", *rows, ""]


def _code(text: str) -> str:
    """A text in a cell, between more backticks than it has in a row; a line's end is shown as a sign."""
    if not text:
        return ""
    longest = max(map(len, re.findall("`+", text)), default=0)
    mark, space = "`" * (longest + 1), " " * (longest > 0)
    return mark + space + text.replace("\n", "\u23ce") + space + mark


def _option(field: msgspec.structs.FieldInfo) -> str:
    hint = field.type
    said = [meta.description for meta in get_args(hint)[1:] if meta.description]
    default = field.default
    if field.default_factory is not msgspec.NODEFAULT:
        default = field.default_factory()
    shown = "required" if default is msgspec.NODEFAULT else _default(default)
    takes = "list of strategies" if field.name == "strategies" else _takes(hint)
    return _cells(f"`{field.encode_name}`", shown, takes, said[-1] if said else "")


def score_figures() -> str:
    """The sentence about `judge score`, from the committed measurement."""
    result = json.loads((RESULTS / "score.json").read_text())
    seen, machine = result["details"], result["environment"]
    return (
        f"`make bench` judged {seen['rollouts']:,} rollouts at"
        f" **{seen['evaluations_per_s']['median']:,.0f} evaluations/s**"
        f" (median of {seen['runs']} runs, {seen['evaluations_per_s']['min']:,.0f} to"
        f" {seen['evaluations_per_s']['max']:,.0f}), against a simulated Bedrock whose median"
        f" latency is {seen['latency_median_s'] * 1000:.0f} ms, both on"
        f" {machine['cores']} cores (CPython {machine['python']}); {seen['unscored']} unscored."
    )


def table(name: str) -> str:
    """What a benchmark was asked and what it measured, and where."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return "(not measured yet)"
    result = json.loads(path.read_text())
    rows = [
        f"| {one['what']} | {one['asked']} | {_measured(one)} | {'yes' if one['met'] else '**no**'} |"
        for one in result["figures"]
    ]
    return "\n".join(
        ["| what | asked | measured | met |", "|---|---|---|---|", *rows, "", _where(result)]
    )


def _measured(figure: dict[str, Any]) -> str:
    return f"{figure['measured']:,} {figure['unit']}".strip()


def _where(result: dict[str, Any]) -> str:
    machine = result["environment"]
    found = f"{machine['date']}, CPython {machine['python']}, {machine['system']}, {machine['cores']} cores"
    return f"{found}, commit {machine['commit']}." if machine.get("commit") else f"{found}."


def cpu_figures() -> str:
    """The table, and the microseconds its ratios are of."""
    path = RESULTS / "cpu.json"
    if not path.exists():
        return table("cpu")
    us = json.loads(path.read_text())["details"]["cpu_us_per_call"]
    calls = ", ".join(
        f"{name} {spread['median']:,.0f} us ({spread['min']:,.0f} to {spread['max']:,.0f})"
        for name, spread in us.items()
    )
    return f"{table('cpu')}\n\nMedian and range over the rounds: {calls}."


FIGURES: dict[str, Callable[[], str]] = {
    "score": score_figures,
    "cpu": cpu_figures,
    "verifiers": verifier_options,
    **{
        name: partial(table, name)
        for name in (
            "quota",
            "world",
            "storm",
            "outage",
            "hedge",
            "inflight",
            "limiter",
            "large_job",
            "shared_quota",
            "workers_quota",
            "small_model",
            "prefix",
            "replies_fuzz",
            "soak",
            "load",
            "function",
            "function_fleet",
            "function_memory",
            "function_freeze",
            "image",
            "service_single",
            "service_batch",
            "service_bodies",
            "service_proxy",
            "service_overload",
            "service_stop",
            "service_hostile",
            "jobs",
            "verifiers_speed",
            "accuracy_gsm8k",
            "accuracy_math",
            "accuracy_code",
            "accuracy_tools",
            "accuracy_instructions",
            "accuracy_guards",
            "tied_votes",
        )
    },
}
BLOCK = re.compile(r"(<!-- figures:(\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def with_figures(text: str) -> str:
    """A page with its blocks `<!-- figures:NAME -->` ... `<!-- end -->` filled in."""
    return BLOCK.sub(lambda block: block[1] + FIGURES[block[2]]() + block[3], text)


def pages() -> dict[Path, str]:
    """Every generated page, as it should be."""
    docs = ROOT / "docs"
    with_blocks = (
        ROOT / "README.md",
        docs / "performance.md",
        docs / "loadtest.md",
        docs / "verifiers.md",
        docs / "guards.md",
        docs / "packing-and-voting.md",
        docs / "lambda" / "index.md",
    )
    return {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "rubric.schema.json": json.dumps(rubric_schema(list(MODULES)), indent=2)
        + "\n",
        **{page: with_figures(page.read_text()) for page in with_blocks},
    }


def main(arguments: list[str]) -> int:
    stale = [
        path for path, text in pages().items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        if "--check" in arguments:
            print(f"{path.relative_to(ROOT)} is stale; run `make docs`")
        else:
            path.write_text(pages()[path])
            print(f"wrote {path.relative_to(ROOT)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
