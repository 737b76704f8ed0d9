"""Say who runs and writes each opset, and what opsets, operators and models need.

WHAT is an opset (``20``), an operator (``Gelu``), or an ONNX file. Without one: the table of all opsets.
"""

from __future__ import annotations

import argparse
import json
import os
from difflib import get_close_matches
from typing import Any

from onnxbuild.cli import console
from onnxbuild.cli.arguments import add_json
from onnxbuild.cli.wrapping import wrap
from onnxbuild.errors import UsageError
from onnxbuild.recipe.releases import (
    LEAST_OPSET,
    MEASURED_WITH,
    SOURCE,
    exporters,
    find_runtime,
    releases_by_opset,
    say_runtime,
    tell_number,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``opsets``."""
    parser.add_argument(
        "what", nargs="?", metavar="WHAT", help="an opset, an operator, or an ONNX file"
    )
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Print the table of opsets, or what is asked of."""
    what = options.what
    value: Any
    if what is None:
        value, text = opsets_values(), render_table()
    elif what.endswith(".onnx") or os.path.exists(what):
        value = model_values(what)
        text = render_model(value)
    elif what[:1].isalpha() and not tell_number(what):
        value = operator_values(what)
        text = render_operator(value)
    else:
        value = opset_values(read_opset(what))
        text = render_opset(value)
    console.data(json.dumps(value, indent=2) if options.json else text)
    return 0


def read_opset(text: str) -> int:
    """Read the number of an opset. Raises `UsageError`, which knows a release of ONNX when it sees one."""
    newest = max(releases_by_opset())
    told = tell_number(text)
    if told:
        number = told.rpartition(" ")[2]
        raise UsageError(f"{text} is no opset: {told}", hint=f"onnxbuild opsets {number}")
    if not text.isascii() or not text.isdigit() or int(text) not in range(1, newest + 1):
        raise UsageError(
            f"{text!r} is no opset that the installed onnx knows",
            hint=f"opsets are whole numbers from 1 to {newest}",
        )
    return int(text)


def opsets_values() -> list[dict[str, Any]]:
    """Give the rows of the table, newest first."""
    return [
        {
            "opset": opset,
            "onnx": release,
            "ir_version": ir,
            "onnxruntime": say_runtime(find_runtime(opset)),
            "exporters": exporters(opset),
        }
        for opset, (release, ir) in sorted(releases_by_opset().items(), reverse=True)
        if opset >= LEAST_OPSET
    ]


def render_table() -> str:
    """Write the table of opsets, newest first."""
    rows = [[str(value) for value in row.values()] for row in opsets_values()]
    table = console.table(["opset", "ONNX", "IR", "onnxruntime", "exporters"], rows, right=(0, 2))
    return (
        f"{table}\n\n"
        f"onnxruntime: the first release that runs it. Sources:{SOURCE}\n"
        f"exporters: who writes it where `export.opset` asks, measured with {MEASURED_WITH}."
    )


def opset_values(opset: int) -> dict[str, Any]:
    """Give what one opset has: its release, who runs and writes it, and its operators."""
    new, changed, deprecated = find_operators(opset)
    release, ir = releases_by_opset().get(opset, (None, None))
    runtime = f"none: it runs opsets from {LEAST_OPSET} on"
    return {
        "opset": opset,
        "onnx": release,
        "ir_version": ir,
        "onnxruntime": runtime if opset < LEAST_OPSET else say_runtime(find_runtime(opset)),
        "exporters": exporters(opset),
        "new": new,
        "changed": changed,
        "deprecated": deprecated,
    }


def render_opset(values: dict[str, Any]) -> str:
    """Write what one opset has."""
    lines = [f"opset {values['opset']}"]
    if values["onnx"]:
        lines.append(f"  ONNX         {values['onnx']}, IR version {values['ir_version']}")
    lines.append(f"  onnxruntime  {values['onnxruntime']}")
    lines.append(f"  exporters    {values['exporters']} ({MEASURED_WITH})")
    for title in ("new", "changed", "deprecated"):
        if values[title]:
            lines += ["", f"{title} ({len(values[title])})", wrap(", ".join(values[title]))]
    if not values["new"] and not values["changed"] and not values["deprecated"]:
        lines += ["", "no operator is new or changed"]
    return "\n".join(lines)


def operator_values(name: str) -> dict[str, Any]:
    """Give the opsets in which an operator came and changed. Raises `UsageError` for one that ONNX has not."""
    versions = _versions()
    if name not in versions:
        folded = {known.casefold(): known for known in versions}
        near = get_close_matches(name.casefold(), folded, n=1, cutoff=0.7)
        raise UsageError(
            f"ONNX has no operator {name!r}",
            hint=f"did you mean {folded[near[0]]!r}?"
            if near
            else "operators are written as in Conv, LayerNormalization",
        )
    since = min(versions[name])
    return {
        "operator": name,
        "since": since,
        "versions": sorted(versions[name]),
        "deprecated": find_deprecated().get(name),
        "onnxruntime": say_runtime(find_runtime(since)),
    }


def render_operator(values: dict[str, Any]) -> str:
    """Write the versions of an operator."""
    versions = ", ".join(map(str, values["versions"]))
    lines = [
        f"{values['operator']}",
        f"  since        opset {values['since']}",
        f"  versions     {versions}",
        f"  onnxruntime  {values['onnxruntime']}, where it has a kernel",
    ]
    if values["deprecated"]:
        lines.append(f"  deprecated   from opset {values['deprecated']} on")
    return "\n".join(lines)


def model_values(path: str) -> dict[str, Any]:
    """Give what a model has, what runs it, and the least opset that has its operators as it uses them."""
    if not os.path.isfile(path):
        raise UsageError(f"there is no file {path}", hint="name an .onnx file")
    # Imported here: a wrong call is answered without the ONNX libraries.
    from onnxbuild.graph.summary import summarize

    summary = summarize(path)
    opset, versions = summary["opset"], _versions()
    used = {
        name: max((one for one in versions[name] if one <= (opset or 0)), default=None)
        for name in summary["operators"]
        if name in versions
    }
    least = max((version for version in used.values() if version), default=1)
    return {
        "file": path,
        "opset": opset,
        "ir_version": summary["ir_version"],
        "onnxruntime": say_runtime(find_runtime(opset or 1, summary["ir_version"])),
        "least_opset": max(least, 1),
        "operators": {name: version for name, version in sorted(used.items()) if version},
        "others": sorted(name for name in summary["operators"] if name not in used),
    }


def render_model(values: dict[str, Any]) -> str:
    """Write what a model needs."""
    rows = [[name, str(version)] for name, version in values["operators"].items()]
    later = "" if values["onnxruntime"].startswith("none") else " and later"
    lines = [
        f"{values['file']}",
        f"  opset        {values['opset']}, IR version {values['ir_version']}",
        f"  onnxruntime  {values['onnxruntime']}{later}",
        f"  least opset  {values['least_opset']}: the first that has its operators as they are used",
        "",
        console.table(["operator", "version"], rows, right=(1,)),
    ]
    if values["others"]:
        lines += ["", "not of ONNX's own set", wrap(", ".join(values["others"]))]
    return "\n".join(lines)


def _versions() -> dict[str, set[int]]:
    """Give the opsets in which each standard operator came or changed."""
    import onnx.defs

    versions: dict[str, set[int]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            versions.setdefault(schema.name, set()).add(schema.since_version)
    return versions


def find_deprecated() -> dict[str, int]:
    """Give the opset from which on an operator is deprecated."""
    import onnx.defs

    return {
        schema.name: schema.since_version
        for schema in onnx.defs.get_all_schemas_with_history()
        if schema.deprecated and not schema.domain
    }


def find_operators(opset: int) -> tuple[list[str], list[str], list[str]]:
    """List the standard operators that are new, changed, and deprecated in an opset."""
    versions = _versions()
    deprecated = {name for name, since in find_deprecated().items() if since == opset}
    touched = {name for name, known in versions.items() if opset in known} - deprecated
    new = {name for name in touched if min(versions[name]) == opset}
    return sorted(new), sorted(touched - new), sorted(deprecated)
