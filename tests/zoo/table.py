"""The table in ``docs/zoo.md``: what was found of each architecture, totals, goals."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from zoo.check import INT8_COSINE
from zoo.subject import HERE

Row = Mapping[str, Any]
ROOT = os.path.dirname(os.path.dirname(HERE))
LONGEST = 400
LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "onnxscript", "onnxconverter-common")
GOALS = (("export", 0.95), ("fp16", 0.95), ("int8", 0.90))
"""Of all architectures: built and right at every size; fp16 that loads and is right; int8 within 0.99."""

INTRO = """\
# The zoo

Small seeded models of {count} architectures, most from the configurations of `transformers`, each with the recipe
that a person writes in a minute (`tests/zoo/recipes`). `make zoo` builds them all with `onnxbuild run`, makes the
calls of the libraries' documentation on the same models, and compares every file with PyTorch: at the example, at
all least and all most sizes, at either end of each dynamic dimension, and at three sizes between. The
comparison is code of its own and knows nothing of onnxbuild's verification. This page is written by that run.

* **export** is right if every output has PyTorch's shape, is within 0.001 of its largest value and has a cosine of
  at least 0.9999 with it, at every size. **fp16**: loads, within 0.01, cosine 0.999. **int8**: the least cosine of any
  output at any size; weights and activations from calibration data where the recipe has such (static), else dynamic.
* *refused*: nothing was published, and the build said why. *wrong*: there is a file, and it does not load,
  fails at a size, or gives other numbers.
* An empty cell was not reached by this run: {reached} of the architectures were built, and of {called} the plain calls
  were made. All shares are of those.
* Plain calls: `torch.onnx.export` with dynamo at opset 18 and by TorchScript at 17; from the first that is right,
  `onnxconverter_common.float16` with `keep_io_types` and `quantize_dynamic` or `quantize_static` with their defaults.
* size and speed are of int8 against the export: bytes, and latency at the example on one thread (2.0 is twice as fast).
"""


def write_table(path: str, rows: Sequence[Row]) -> int:
    """Write the page, print the totals. Gives 1 where a goal is missed or something published is wrong."""
    lines = [
        INTRO.format(count=len(rows), reached=len(_reached(rows)), called=len(_called(rows))),
        *_results(rows),
        "",
        *_totals(rows),
        "",
    ]
    refused = _refusals(rows)
    if refused:
        lines += ["## What was refused or is wrong", "", *refused, ""]
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    lines += [f"With {versions}."]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    sys.stderr.write("\n".join(_totals(rows)) + f"\n{path}\n")
    missed = any(_share(rows, variant) < goal for variant, goal in GOALS)
    return int(missed or bool(silently_wrong(rows)))


def silently_wrong(rows: Sequence[Row]) -> list[str]:
    """Name what was published and is wrong."""
    return [
        f"{row['name']} {variant}: {_of(row, variant)['wrong']}"
        for row in rows
        for variant, _ in GOALS
        if _of(row, variant).get("published") and _of(row, variant)["wrong"]
    ]


def _of(row: Row, variant: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = row.get("onnxbuild", {}).get(variant, {})
    return found


def _is_right(row: Row, variant: str) -> bool:
    found = _of(row, variant)
    right = bool(found.get("published")) and not found["wrong"]
    return right and (variant != "int8" or found["cosine"] >= INT8_COSINE)


def _reached(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "onnxbuild" in row or "error" in row]


def _called(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.get("plain")]


def _share(rows: Sequence[Row], variant: str) -> float:
    return sum(_is_right(row, variant) for row in rows) / max(len(_reached(rows)), 1)


def _results(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| architecture | export | fp16 | int8 | size | speed | dynamo | TorchScript | plain fp16 | plain int8 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        plain = row.get("plain", {})
        cells = [
            row["name"],
            _word(_of(row, "export")),
            _word(_of(row, "fp16")),
            _word(_of(row, "int8"), cosine=True),
            *_ratios(row),
            *(_word(plain.get(key, {})) for key in ("dynamo", "torchscript", "fp16")),
            _word(plain.get("int8", {}), cosine=True),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _word(found: Mapping[str, Any], *, cosine: bool = False) -> str:
    if not found:
        return ""
    if not found.get("published", found.get("made", True)):
        return "refused" if "published" in found else "fails"
    if not found.get("loads", True):
        return "does not load"
    if found["wrong"] and not (cosine and found["cosine"] < 1):
        return "wrong"
    return f"{found['cosine']:.4f}" if cosine else "right"


def _ratios(row: Row) -> tuple[str, str]:
    export, int8 = _of(row, "export"), _of(row, "int8")
    if not (export.get("published") and int8.get("published")):
        return "", ""
    size = f"{int8['bytes'] / export['bytes']:.0%}"
    if not (export.get("milliseconds") and int8.get("milliseconds")):
        return size, ""
    return size, f"{export['milliseconds'] / int8['milliseconds']:.1f}"


def _totals(rows: Sequence[Row]) -> list[str]:
    called = _called(rows)
    count = len(called)

    def plain(test: str, least: float = -1.0) -> str:
        found = [row["plain"].get(test, {}) for row in called]
        right = [one for one in found if one.get("made") and not one["wrong"]]
        return f"{sum(one['cosine'] >= least for one in right)} of {count}"

    either = sum(bool(row["plain"].get("source")) for row in called)
    dynamo, torchscript = plain("dynamo"), plain("torchscript")
    exported = f"dynamo {dynamo}, TorchScript {torchscript}, either {either} of {count}"
    wrong = silently_wrong(rows)
    return [
        "| | onnxbuild | goal | plain calls |",
        "|---|---|---|---|",
        f"| exported, right at every size | {_count(rows, 'export')} | 95 % | {exported} |",
        f"| fp16 loads and is right | {_count(rows, 'fp16')} | 95 % | {plain('fp16')} |",
        f"| int8 within cosine {INT8_COSINE} | {_count(rows, 'int8')} | 90 % | {plain('int8', INT8_COSINE)} |",
        f"| published and wrong | {len(wrong)} | none | |",
    ]


def _count(rows: Sequence[Row], variant: str) -> str:
    right = sum(_is_right(row, variant) for row in rows)
    return f"{right} of {len(_reached(rows))} ({_share(rows, variant):.0%})"


def _refusals(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if "error" in row:
            lines.append(f"* {row['name']}: PyTorch itself: {row['error']}")
        told: dict[str, list[str]] = {}
        for variant, _ in GOALS:
            found = _of(row, variant)
            text = found.get("why") or found.get("wrong")
            if text:
                kind = "refused" if found.get("why") else "wrong"
                told.setdefault(f"{kind}: {_shorten(text)}", []).append(variant)
        lines += [f"* {row['name']}, {', '.join(ones)}, {text}" for text, ones in told.items()]
    return lines


def _shorten(text: str) -> str:
    """Leave out the folder, which is a machine's own, and what comes after the first sentences."""
    words = " ".join(text.replace(ROOT + os.sep, "").split())
    return words if len(words) <= LONGEST else words[:LONGEST].rpartition(" ")[0] + " …"
