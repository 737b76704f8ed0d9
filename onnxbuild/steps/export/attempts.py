"""Export the model: replace modules, try exporters, check what came out, keep the graph.

The two run modules of the step, `run` and `scripted`, differ in what they warm and share this.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from onnxbuild.arrays import read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.graph.load import read
from onnxbuild.graph.save import put
from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.between import Doubt, visit
from onnxbuild.steps.export.coverage import KINDS, cover, state_of
from onnxbuild.steps.export.finish import drop_weights, finish
from onnxbuild.steps.export.folding import fold
from onnxbuild.steps.export.measure import compare, judge, measure
from onnxbuild.steps.export.onnxfile import export_onnx
from onnxbuild.steps.export.replace import replace_modules
from onnxbuild.steps.export.settle import settle
from onnxbuild.steps.export.spec import DEFAULT_OPSET, DYNAMO_LEAST, ExportOptions
from onnxbuild.steps.export.target import Target, read_target
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.loading import load_model
from onnxbuild.steps.model.program import read_inputs
from onnxbuild.steps.model.user import say


def export(work: Work) -> dict[str, Artifact]:
    """Give the model as an ONNX graph that is what the recipe asks, or raise `ExportError`."""
    options = build(ExportOptions, work.options)
    if options.model.program is not None and not options.inputs:
        inputs, bounds = read_inputs(options.model.program)
        options = replace(options, inputs=inputs, dims={**bounds, **options.dims})
    target = read_target(work, options)
    if options.model.onnx is not None:
        return {"model": export_onnx(work, options, target)}
    trace = read_item(work.input("samples"), 0)
    names = [port.name for port in target.inputs]

    def run(module: nn.Module) -> None:
        Adapter(module, names, None, options.constants).predict(trace)

    model = load_model(options.model)
    if options.replace:
        model, work.notes["rules"] = replace_modules(model, options.replace, run)
    adapter = Adapter(model, names, options.outputs, options.constants)
    given = adapter.predict(trace)
    if not options.replace:
        _expect(given, read_item(work.input("reference"), 0))
    say(f"forward({adapter.mapping()})")
    values = adapter.tensors(trace)
    artifact = _attempt(work, options, target, adapter, values)
    return {"model": _keep(work, options, adapter, values, artifact)}


def _expect(given: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """See, before any exporter is blamed, that the model is the one that the reference has run."""
    for name, wanted in expected.items():
        problem = compare(name, wanted, given[name])
        if problem:
            raise ExportError(
                "called again on the same inputs, the model gives other numbers than in the step"
                f" `reference`: {problem}",
                where="model",
                hint="draw random numbers in __init__, where each step has the same seed, not in forward;"
                " or, if one of its files was edited during the build, run again",
            )


def _attempt(
    work: Work,
    options: ExportOptions,
    target: Target,
    adapter: Adapter,
    values: Sequence[torch.Tensor],
) -> Artifact:
    """Try the exporters in order until one gives what is asked."""
    names, why = exporters.choose(options.export)
    attempts: list[dict[str, str]] = []
    work.notes["attempts"] = attempts
    errors: list[ExportError] = []
    # What one exporter found doubtful holds for the next, too: they are of the model.
    doubts: list[Doubt] = []
    for name in names:
        try:
            artifact = _export_with(name, work, options, target, adapter, values, doubts)
        except ExportError as error:
            say(f"{name}: {error}")
            attempts.append({"exporter": name, "result": error.what})
            errors.append(error)
            continue
        attempts.append({"exporter": name, "result": "ok"})
        reason = f"{names[0]} failed: {errors[0].what.splitlines()[0]}" if errors else why
        work.notes["exporter"] = {"name": name, "reason": reason}
        if exporters.is_converted(name, options.export):
            work.notes["exporter"]["converted_from"] = DYNAMO_LEAST
        say(f"exported with {name} ({reason})")
        return artifact
    if len(errors) == 1:
        raise errors[0]
    lines = [f"  {name}: {error.what}" for name, error in zip(names, errors, strict=True)]
    # The errors of checks name what is wrong; those of exporters often only where they gave up.
    best = next((error for error in errors if error.where != "export"), errors[0])
    raise ExportError(
        "no exporter gives what the recipe asks\n" + "\n".join(lines),
        where=best.where,
        hint=best.hint,
    )


def _export_with(
    name: str,
    work: Work,
    options: ExportOptions,
    target: Target,
    adapter: Adapter,
    values: Sequence[torch.Tensor],
    doubts: list[Doubt],
) -> Artifact:
    model = exporters.run_exporter(name, adapter, values, target, options, work, doubts)
    settle(model, target, options.export.opset or DEFAULT_OPSET)
    if options.export.constant_folding:
        work.notes["constant_folding"] = fold(model)
    finish(model, options)
    artifact = put(model, work.store)
    problems = measure(
        work.store.path(artifact),
        [port.name for port in target.inputs],
        work.input("samples"),
        work.input("reference"),
    )
    for problem in problems:
        say(f"{name}, sample {problem.index}: {problem.text}")
    judge(problems, target.shapes, name, numbers=options.export.exporter == "auto")
    visit(work, work.store.path(artifact), adapter, target, doubts, name)
    return artifact


def _keep(
    work: Work,
    options: ExportOptions,
    adapter: Adapter,
    values: Sequence[torch.Tensor],
    artifact: Artifact,
) -> Artifact:
    """Account for every weight, and take them out where the recipe wants the graph alone."""
    model: ir.Model = read(work.store.path(artifact))
    state = state_of(adapter.model)
    covered = cover(state, model, lambda: adapter.call(values))
    work.notes["weights"] = covered
    for kind in KINDS:
        if kind in covered:
            say(f"weights {kind}: {', '.join(covered[kind])}")
    if options.export.export_params:
        return artifact
    work.notes["weights_as_inputs"] = drop_weights(model, state)
    return put(model, work.store)
