"""One way to export tried: the exporter, the rules, what is asked, and the graph held against PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir
import torch

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.errors import ExportError
from onnxbuild.graph.save import put
from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.between import explain_sizes, visit
from onnxbuild.steps.export.blame import find_guilty, tell_guilty, worst
from onnxbuild.steps.export.diagnosis import explain_check
from onnxbuild.steps.export.finish import finish
from onnxbuild.steps.export.folding import fold
from onnxbuild.steps.export.measure import Problem, judge, measure
from onnxbuild.steps.export.naming import name_nodes
from onnxbuild.steps.export.settle import settle
from onnxbuild.steps.export.subject import Subject, load
from onnxbuild.steps.export.target import Target
from onnxbuild.steps.export.uneven import compares_sizes, find_uneven, trace_at
from onnxbuild.steps.export.ways import Way, exporter_of, opset_of
from onnxbuild.steps.model.loading import Seeds
from onnxbuild.steps.model.user import say


def try_way(trial: exporters.Trial, subject: Subject) -> Artifact:
    """Export in one way; give the graph if it is the model at every sample. Raises `ExportError` if not."""
    try:
        return _try(trial, subject, subject.values, subject.target)
    except ExportError as error:
        if trial.reached != "checks":
            raise
        artifact = _try_uneven(error, trial, subject)
        if artifact is not None:
            return artifact
        # Where it is told which sizes compare otherwise, the search for more would take as long as a capture.
        find = (lambda: trial.fixing) if error.where.startswith("dims") else trial.find_fixing
        raise explain_check(error, find, trial.changed, draws=trial.draws) from error


def _try_uneven(error: ExportError, trial: exporters.Trial, subject: Subject) -> Artifact | None:
    """Trace once more, at sizes that nothing divides, where the model may go a special way at those of the example."""
    sizes = _uneven(error, trial, subject)
    if sizes is None:
        return None
    told = ", ".join(f"{dim} {size}" for dim, size in sizes.items())
    say(f"{error.what}\ntracing again at {told}")
    again = exporters.Trial(trial.way, list(trial.doubts), changed=trial.changed)
    try:
        artifact = _try(again, subject, *trace_at(subject, sizes))
    except ExportError as other:
        say(f"traced again: {other.what}")
        return None
    subject.work.notes["traced_at"] = sizes
    trial.problems = again.problems
    return artifact


def _uneven(error: ExportError, trial: exporters.Trial, subject: Subject) -> dict[str, int] | None:
    """Give sizes to trace once more at, where the model may go a special way at those of the example."""
    target = subject.target
    if trial.way == "dynamo strict":
        return None
    # A trace notes no comparisons, but that it made numbers of sizes.
    is_doubtful = (
        bool(trial.doubts)
        if trial.way == "torchscript"
        else compares_sizes(error, trial.problems, target, trial.doubts)
    )
    return find_uneven(target) if is_doubtful else None


def _try(
    trial: exporters.Trial, subject: Subject, values: Sequence[torch.Tensor], target: Target
) -> Artifact:
    """Export a model that is traced on `values`, at the first sizes of `target`."""
    model = _translate(trial, subject, values, target)
    subject.work.notes |= subject.rules.notes()
    trial.reached = "checks"
    return _check(model, trial, subject)


def blame(trial: exporters.Trial, subject: Subject, seeds: Seeds) -> str:
    """Find the rule that moves the numbers, where they are off and rules have fired; note it, and say so."""
    rules = subject.rules
    if not rules.fired or not trial.problems:
        return ""

    def without(name: str) -> float:
        seeds.restore()
        return _measure_without(name, trial.way, subject)

    guilty = find_guilty(rules.fired, worst(trial.problems), without)
    if guilty is None:
        return ""
    subject.work.notes["guilty"] = guilty
    say(tell_guilty(guilty))
    return tell_guilty(guilty)


def _translate(
    trial: exporters.Trial, subject: Subject, values: Sequence[torch.Tensor], target: Target
) -> ir.Model:
    """Give the exporter's graph, the rules for operators and graphs applied, its nodes named."""
    options, adapter, rules = subject.options, subject.adapter, subject.rules
    modules = {path for path, _ in adapter.module.named_modules() if path}
    with rules.translated(exporter_of(trial.way), options.export):
        model = exporters.run_exporter(trial, adapter, values, target, options, subject.work)
    name_nodes(model, modules)
    rules.replace_nodes(model, folded=options.export.constant_folding)
    name_nodes(model, modules)
    return model


def _check(model: ir.Model, trial: exporters.Trial, subject: Subject) -> Artifact:
    """Make the graph what the recipe asks, and keep it if it is the model at every sample."""
    work, options, target = subject.work, subject.options, subject.target
    settle(model, target, opset_of(options.export))
    if options.export.constant_folding:
        work.notes["constant_folding"] = fold(model)
    finish(model, options)
    artifact = put(model, work.store)
    trial.problems = _measure(work, artifact, target)
    for problem in trial.problems:
        say(f"{trial.way}, sample {problem.index}: {problem.text}")
    try:
        judge(trial.problems, target.shapes, trial.way, numbers=options.export.exporter == "auto")
    except ExportError as error:
        raise explain_sizes(error, trial.problems, target, trial.doubts) from error
    visit(work, work.store.path(artifact), subject.adapter, target, trial.doubts, trial.way)
    return artifact


def _measure(work: Work, artifact: Artifact, target: Target) -> list[Problem]:
    names = [port.name for port in target.inputs]
    graph = work.store.path(artifact)
    return measure(graph, names, work.input("samples"), work.input("reference"))


def _measure_without(name: str, way: Way, subject: Subject) -> float:
    """Export once more without a rule, and give how far the graph is off then."""
    work, target = subject.work, subject.target
    kept = tuple(rule for rule in subject.options.replace if rule["name"] != name)
    other = load(work, replace(subject.options, replace=kept), target)
    other.adapter.predict(other.trace)
    graph = _translate(exporters.Trial(way, []), other, other.values, target)
    settle(graph, target, opset_of(subject.options.export))
    finish(graph, subject.options)
    return worst(_measure(work, put(graph, work.store), target))
