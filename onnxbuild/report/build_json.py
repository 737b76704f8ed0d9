"""``build.json``: where a published model came from, and how far its numbers are from PyTorch's.

Made of traces and the recipe alone, so that the same build gives the same text.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from onnxbuild.core.step import Output, Step
from onnxbuild.core.trace import Trace
from onnxbuild.core.values import plain
from onnxbuild.planner import Variant
from onnxbuild.recipe.schema import Recipe
from onnxbuild.report.result import Fidelity

FORMAT = 1


def make_build_json(
    *,
    recipe: Recipe,
    variant: Variant,
    fidelity: Fidelity,
    measured: Mapping[str, Any],
    findings: Sequence[Any],
    files: Mapping[str, tuple[str, int]],
    traces: Mapping[int, Trace],
    version: str,
) -> str:
    """Write the text of build.json.

    `measured` has the whole ``fidelity``, ``metric``, ``reference_metric`` and ``latency``; `files` maps
    names to digest and bytes; `traces` maps the identity of each step to its trace.
    """
    steps = [
        (step, traces[id(step)])
        for step in history([variant.model, *variant.measured])
        if id(step) in traces
    ]
    model_steps = {id(step) for step in history([variant.model])}
    content = {
        "format": FORMAT,
        "recipe": recipe.name,
        "variant": variant.name,
        "description": recipe.description,
        "precision": variant.precision,
        "files": {
            name: {"digest": digest, "bytes": size} for name, (digest, size) in files.items()
        },
        **_parts(variant, traces),
        "fidelity": plain(fidelity),
        "gates": plain(findings),
        "measured": measured,
        "provenance": {
            "onnxbuild": version,
            "platform": {
                "system": sys.platform,
                "machine": platform.machine(),
                "python": platform.python_version(),
            },
            "libraries": find_libraries(
                [trace for step, trace in steps if id(step) in model_steps]
            ),
            "steps": [_step(step, trace) for step, trace in steps],
            # Settings change no result, and where the named folders lie is the machine's affair.
            "recipe": plain(recipe) | {"settings": None, "roots": sorted(recipe.roots)},
        },
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    # File systems allow names that are no text; JSON has an escape for what remains of them.
    return text.encode("utf-8", "backslashreplace").decode()


def _parts(variant: Variant, traces: Mapping[int, Trace]) -> dict[str, Any]:
    """Say what each file of a split model takes and gives, in the order in which they run."""
    trace = traces.get(id(variant.model.step))
    told = trace.notes.get("parts") if trace is not None and variant.files else None
    return {"parts": plain(told)} if told else {}


def history(outputs: Sequence[Output]) -> list[Step]:
    """Give all steps behind `outputs`, producers first."""
    ordered: dict[int, Step] = {}
    pending = [output.step for output in reversed(outputs)]
    while pending:
        step = pending[-1]
        missing = [item.step for item in step.inputs.values() if id(item.step) not in ordered]
        if missing and id(step) not in ordered:
            pending.extend(missing)
            continue
        ordered.setdefault(id(step), step)
        pending.pop()
    return list(ordered.values())


def find_libraries(traces: Sequence[Trace]) -> dict[str, str]:
    """Give the versions of the libraries that steps used, by name."""
    found: dict[str, str] = {}
    for trace in traces:
        found.update(trace.ingredients["libraries"])
        found.update({name: value for kind, name, value in trace.observations if kind == "package"})
    return dict(sorted(found.items()))


def _step(step: Step, trace: Trace) -> dict[str, Any]:
    return {
        "label": step.label,
        "run": step.run,
        "key": trace.key,
        "results": {name: artifact.digest for name, artifact in trace.results.items()},
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(trace.made)),
        "seconds": round(trace.seconds, 3),
        "peak_memory": trace.memory,
        "read": [
            {"file": _name(name), "digest": digest}
            for kind, name, digest in trace.observations
            if kind == "file"
        ],
        "notes": plain(trace.notes),
    }


def _name(file: str) -> str:
    """Name a file that was read; of one outside the project and its roots, not where it lies on this machine."""
    return f"…/{os.path.basename(file)}" if file.startswith("/") else file
