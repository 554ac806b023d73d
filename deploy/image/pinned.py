"""Prints the part of a lock file that some packages need, with its hashes, for pip's `--require-hashes`.

    python3 pinned.py LOCK [PACKAGE ...] [--extras a,b --project pyproject.toml]

The lock says behind each pin who asked for it (`# via`), so nothing is resolved and nothing is asked of
the network. An image installs what it needs of `requirements.lock`, and no second lock can fall behind.
Only the standard library is used: this runs in a bare base image.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
VIA = re.compile(r"^    #(?: via|  ) +([A-Za-z0-9][A-Za-z0-9._-]*)", re.MULTILINE)


def main() -> None:
    options = _options()
    wanted = set(map(normal, options.packages))
    if options.project is not None:
        wanted |= asked_for(options.project, [part for part in options.extras.split(",") if part])
    try:
        sys.stdout.writelines(pinned(options.lock.read_text(), wanted))
    except KeyError as missing:
        sys.exit(f"{options.lock}: {missing.args[0]} is not pinned there; run `make lock`")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("lock", type=Path)
    parser.add_argument("packages", nargs="*", metavar="PACKAGE")
    parser.add_argument("--project", type=Path, help="pyproject.toml whose dependencies are wanted")
    parser.add_argument("--extras", default="", help="of the project, with commas between")
    return parser.parse_args()


def asked_for(project: Path, extras: Iterable[str]) -> set[str]:
    """Names that a project asks for by itself: its dependencies and those of some extras."""
    table = tomllib.loads(project.read_text())["project"]
    known = table["optional-dependencies"]
    lines = list(table["dependencies"])
    for extra in extras:
        if extra not in known:
            sys.exit(f"{project}: there is no extra `{extra}`; it has {', '.join(sorted(known))}")
        lines += known[extra]
    return {normal(name) for line in lines if (name := NAME.match(line)[0]) != table["name"]}


def pinned(lock: str, wanted: set[str]) -> list[str]:
    """The lock's entries for `wanted` and for all that these need, in the lock's order.

    Raises KeyError with a name that the lock does not pin.
    """
    entries = {normal(NAME.match(entry)[0]): entry for entry in _entries(lock)}
    if missing := sorted(wanted - entries.keys()):
        raise KeyError(missing[0])
    children: dict[str, set[str]] = {}
    for name, entry in entries.items():
        for parent in VIA.findall(entry):
            children.setdefault(normal(parent), set()).add(name)
    needed, found = set(), set(wanted)
    while found:
        needed |= found
        found = set().union(*(children.get(name, set()) for name in found)) - needed
    return [entry for entry in _entries(lock) if normal(NAME.match(entry)[0]) in needed]


def _entries(lock: str) -> list[str]:
    """One text for each pin: its line, its hashes and who asked for it."""
    return re.findall(r"^[A-Za-z0-9].*\n(?:    .*\n)*", lock, re.MULTILINE)


def normal(name: str) -> str:
    """A package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main()
