"""Show which releases have, run and write each opset, or what is new in one."""

from __future__ import annotations

import argparse
import re

from onnxbuild.cli import console
from onnxbuild.cli.runtimes import (
    LEAST_OPSET,
    MEASURED_WITH,
    SOURCE,
    exporters,
    find_runtime,
    say_runtime,
)
from onnxbuild.cli.wrapping import wrap
from onnxbuild.errors import UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``opsets``."""
    parser.add_argument(
        "opset", nargs="?", metavar="N", help="list what is new or changed in this opset"
    )


def main(options: argparse.Namespace) -> int:
    """Print the table of opsets, or the operators of one."""
    releases = find_releases()
    if options.opset is None:
        console.data(render_table(releases))
    else:
        console.data(render_opset(read_opset(options.opset, releases), releases))
    return 0


def find_releases() -> dict[int, tuple[str, int]]:
    """Give, by opset, the first ONNX release that has it and the IR version of that release."""
    from onnx.helper import VERSION_TABLE

    found: dict[int, tuple[str, int]] = {}
    for release, ir, opset, *_ in VERSION_TABLE:
        found.setdefault(opset, (release, ir))
    return found


def read_opset(text: str, releases: dict[int, tuple[str, int]]) -> int:
    """Read the number of an opset. Raises `UsageError`, which knows a release of ONNX when it sees one."""
    newest = max(releases)
    if re.fullmatch(r"v?\d+(\.\d+)+", text):
        wanted = text.removeprefix("v").split(".")[:2]
        named = {
            opset for opset, (release, _) in releases.items() if release.split(".")[:2] == wanted
        }
        known = f"its opset is {max(named)}: onnxbuild opsets {max(named)}" if named else ""
        raise UsageError(
            f"{text} is a release of ONNX, not an opset" if named else f"{text} is no opset",
            hint=known or f"opsets are whole numbers up to {newest}",
        )
    if not text.isascii() or not text.isdigit() or int(text) not in range(1, newest + 1):
        raise UsageError(
            f"{text!r} is no opset that the installed onnx knows",
            hint=f"opsets are whole numbers from 1 to {newest}",
        )
    return int(text)


def render_table(releases: dict[int, tuple[str, int]]) -> str:
    """Write the table of opsets, newest first."""
    rows = [
        [str(opset), release, str(ir), say_runtime(find_runtime(opset)), exporters(opset)]
        for opset, (release, ir) in sorted(releases.items(), reverse=True)
        if opset >= LEAST_OPSET
    ]
    table = console.table(["opset", "ONNX", "IR", "onnxruntime", "exporters"], rows, right=(0, 2))
    return (
        f"{table}\n\n"
        f"onnxruntime: the first release that runs it. Sources:{SOURCE}\n"
        f"exporters: who writes it where `export.opset` asks, measured with {MEASURED_WITH}."
    )


def render_opset(opset: int, releases: dict[int, tuple[str, int]]) -> str:
    """Write what one opset has: its release, who runs and writes it, and its new and changed operators."""
    new, changed, deprecated = find_operators(opset)
    lines = [f"opset {opset}"]
    if opset in releases:
        release, ir = releases[opset]
        lines.append(f"  ONNX         {release}, IR version {ir}")
    if opset >= LEAST_OPSET:
        lines.append(f"  onnxruntime  {say_runtime(find_runtime(opset))}")
    else:
        lines.append(f"  onnxruntime  none: it runs opsets from {LEAST_OPSET} on")
    lines.append(f"  exporters    {exporters(opset)} ({MEASURED_WITH})")
    for title, names in (("new", new), ("changed", changed), ("deprecated", deprecated)):
        if names:
            lines += ["", f"{title} ({len(names)})", wrap(", ".join(names))]
    if not new and not changed and not deprecated:
        lines += ["", "no operator is new or changed"]
    return "\n".join(lines)


def find_operators(opset: int) -> tuple[list[str], list[str], list[str]]:
    """List the standard operators that are new, changed, and deprecated in an opset."""
    import onnx.defs

    versions: dict[str, set[int]] = {}
    deprecated = set()
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain:
            continue
        versions.setdefault(schema.name, set()).add(schema.since_version)
        if schema.deprecated and schema.since_version == opset:
            deprecated.add(schema.name)
    touched = {name for name, known in versions.items() if opset in known} - deprecated
    new = {name for name in touched if min(versions[name]) == opset}
    return sorted(new), sorted(touched - new), sorted(deprecated)
