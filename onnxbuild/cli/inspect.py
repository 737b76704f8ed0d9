"""Look at an ONNX file: interface, operators, weights, and what runs it."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from onnxbuild.cli import console
from onnxbuild.cli.arguments import add_json
from onnxbuild.core.quantities import show_size
from onnxbuild.errors import UsageError
from onnxbuild.recipe.releases import LEAST_OPSET, find_runtime, say_runtime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``inspect``."""
    parser.add_argument("file", metavar="FILE.onnx", help="the model")
    add_json(parser)


def main(options: argparse.Namespace) -> int:
    """Summarize the file and print that."""
    _check(options.file)
    # Imported here: a wrong call is answered without the ONNX libraries.
    from onnxbuild.graph.summary import summarize

    summary = summarize(options.file)
    summary["onnxruntime"] = _runtime(summary)
    if options.json:
        console.data(json.dumps(summary, indent=2))
    else:
        console.data(render(options.file, summary))
    return 0


def _check(path: str) -> None:
    if path.endswith((".yaml", ".yml")):
        raise UsageError(
            f"{path} is a recipe, not an ONNX file",
            hint=f"onnxbuild plan {path} shows what it builds; its models are in artifacts/",
        )
    if os.path.isdir(path):
        models = sorted(name for name in os.listdir(path) if name.endswith(".onnx"))
        raise UsageError(
            f"{path} is a folder",
            hint=f"onnxbuild inspect {os.path.join(path, models[0])}"
            if models
            else "name an .onnx file",
        )
    if not os.path.exists(path):
        raise UsageError(f"there is no file {path}", hint=_near(path))


def _near(path: str) -> str:
    from difflib import get_close_matches

    folder = os.path.dirname(path)
    if not os.path.isdir(folder or "."):
        return f"there is no folder {folder}"
    near = get_close_matches(os.path.basename(path), os.listdir(folder or "."), n=1)
    return f"did you mean {os.path.join(folder, near[0])}?" if near else ""


def _runtime(summary: dict[str, Any]) -> str:
    opset = summary["opset"]
    if opset is None:
        return "unknown: the model imports no standard opset"
    if opset < LEAST_OPSET:
        return f"none: it runs opsets from {LEAST_OPSET} on"
    found = find_runtime(opset, summary["ir_version"])
    return say_runtime(found)


def render(path: str, summary: dict[str, Any]) -> str:
    """Write a summary for people."""
    opsets = ", ".join(
        f"{domain or 'ai.onnx'} {version}" for domain, version in summary["opsets"].items()
    )
    about = [
        ("size", _sizes(summary)),
        ("opset", opsets or "none"),
        ("IR version", str(summary["ir_version"])),
        (
            "onnxruntime",
            f"{summary['onnxruntime']}, the first release for this opset and IR version",
        ),
        ("producer", summary["producer"]),
        ("about", summary["doc"].partition("\n")[0]),
        *((f"metadata {name}", value) for name, value in summary["metadata"].items()),
    ]
    width = max(len(name) for name, value in about if value)
    lines = [path, *(f"  {name.ljust(width)}  {value}" for name, value in about if value)]
    parts = ["\n".join(lines)]
    for title in ("inputs", "outputs"):
        rows = [
            [item["name"], item["dtype"] or "?", _shape(item["shape"])] for item in summary[title]
        ]
        if rows:
            parts.append(console.table([title, "type", "shape"], rows))
    parts.append(_operators(summary))
    if summary["weights"]["tensors"]:
        parts.append(_weights(summary))
    return "\n\n".join(parts)


def _sizes(summary: dict[str, Any]) -> str:
    outside = summary["bytes"] - summary["graph_bytes"]
    text = show_size(summary["bytes"])
    return f"{text}, of which {show_size(outside)} lie beside the file" if outside else text


def _shape(shape: list[int | str | None] | None) -> str:
    if shape is None:
        return "unknown"
    return "[" + ", ".join("?" if dim is None else str(dim) for dim in shape) + "]"


def _operators(summary: dict[str, Any]) -> str:
    rows = [[name, str(number)] for name, number in summary["operators"].items()]
    rows.append(["all", str(summary["nodes"])])
    return console.table(["operator", "nodes"], rows, right=(1,))


def _weights(summary: dict[str, Any]) -> str:
    weights = summary["weights"]
    rows = [
        [dtype, str(item["tensors"]), f"{item['elements']:,}", show_size(item["bytes"])]
        for dtype, item in weights["dtypes"].items()
    ]
    if len(rows) > 1:
        rows.append(
            [
                "all",
                str(weights["tensors"]),
                f"{weights['elements']:,}",
                show_size(weights["bytes"]),
            ]
        )
    return console.table(["weights", "tensors", "elements", "size"], rows, right=(1, 2, 3))
