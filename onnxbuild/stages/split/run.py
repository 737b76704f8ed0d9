"""Cut a graph into models that run one after the other."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import onnx

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import StageError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import typed_proto
from onnxbuild.graph.load import read
from onnxbuild.graph.save import put
from onnxbuild.graph.summary import summarize
from onnxbuild.stages.split.cutting import Cutter
from onnxbuild.stages.split.spec import Split


def split(work: Work) -> dict[str, Artifact]:
    """Cut, and load each part. The notes say what each takes and gives."""
    options = build(Split, work.options)
    path = work.input("model")
    proto = onnx.load(path, load_external_data=False)
    # Types of what passes from part to part: a model's inputs must say theirs.
    typed = typed_proto(onnx.load(path, load_external_data=False), os.path.dirname(path))
    cutter = Cutter(proto, read(path), typed)
    numbers = cutter.at(options.at) if options.at else cutter.by_size(options.count())
    results = {"model": work.inputs()["model"]}
    told: list[dict[str, Any]] = []
    for number in range(1, options.count() + 1):
        name = f"part-{number}"
        artifact = put(cutter.part(numbers, number - 1), work.store)
        where = work.store.path(artifact)
        sessions.load(where, made_by=f"splitting: {name}", hint="cut elsewhere: `at: […]`")
        results[name] = artifact
        summary = summarize(where)
        told.append(
            {
                "file": f"{name}.onnx",
                **{key: summary[key] for key in ("inputs", "outputs", "nodes", "bytes")},
            }
        )
    work.notes["parts"] = told
    twice = Counter(digest for name in results if name != "model" for digest in results[name].parts)
    work.notes["blobs_in_several_parts"] = sum(count > 1 for count in twice.values())
    _check_interface(work, results)
    return results


def _check_interface(work: Work, results: dict[str, Artifact]) -> None:
    """Hold the chain to what the model takes and gives."""
    whole = summarize(work.input("model"))
    taken: set[str] = set()
    given: set[str] = set()
    for name, artifact in results.items():
        if name == "model":
            continue
        summary = summarize(work.store.path(artifact))
        taken |= {value["name"] for value in summary["inputs"]} - given
        given |= {value["name"] for value in summary["outputs"]}
    inputs = {value["name"] for value in whole["inputs"]}
    outputs = {value["name"] for value in whole["outputs"]}
    if taken != inputs or not outputs <= given:
        raise StageError(
            f"the parts take {sorted(taken)} and give {sorted(given)}; the model takes {sorted(inputs)} and "
            f"gives {sorted(outputs)}",
            hint="cut elsewhere: `at: […]`",
        )
