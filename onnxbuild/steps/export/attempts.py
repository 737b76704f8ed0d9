"""Export the model: replace modules, try one way, check what came out, keep the graph or go on to the next way.

Each way that is tried is a step of its own: where one fails, the step answers with the next, which knows what
has failed before. So a failed way is not tried again until something that it depends on changes.

The two run modules of the step, `run` and `scripted`, differ in what they warm and share this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from onnxbuild.arrays import read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import MoreSteps, Work
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.graph.load import read
from onnxbuild.graph.save import put
from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.between import visit
from onnxbuild.steps.export.blame import Seeds, find_guilty, tell_guilty, worst
from onnxbuild.steps.export.changes import noticed
from onnxbuild.steps.export.coverage import KINDS, cover, state_of
from onnxbuild.steps.export.diagnosis import explain_check
from onnxbuild.steps.export.finish import drop_weights, finish
from onnxbuild.steps.export.folding import fold
from onnxbuild.steps.export.helping import help_export
from onnxbuild.steps.export.measure import Problem, compare, judge, measure
from onnxbuild.steps.export.naming import name_nodes
from onnxbuild.steps.export.onnxfile import export_onnx
from onnxbuild.steps.export.rules import Rules
from onnxbuild.steps.export.settle import settle
from onnxbuild.steps.export.spec import ExportOptions, attempt_again, label_of, lower
from onnxbuild.steps.export.tables import Outputs, fill_tables
from onnxbuild.steps.export.target import Target, read_target
from onnxbuild.steps.export.ways import (
    DYNAMO_LEAST,
    Attempt,
    Way,
    exporter_of,
    first_ways,
    next_way,
    opset_of,
)
from onnxbuild.steps.model.adapter import Adapter
from onnxbuild.steps.model.loading import load_model
from onnxbuild.steps.model.program import read_inputs
from onnxbuild.steps.model.tensors import to_numpy
from onnxbuild.steps.model.user import say


def export(work: Work) -> dict[str, Artifact] | MoreSteps:
    """Give the model as an ONNX graph that is what the recipe asks, or the step that tries the next way.

    Raises `ExportError` where no way is left.
    """
    seeds = Seeds()
    given = build(ExportOptions, work.options)
    options = given
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
    rules = Rules(options.replace)
    if options.replace:
        model = rules.replace_modules(model, run)
    adapter = Adapter(model, names, options.outputs, options.constants)
    changed = _call_once(work, options, target, adapter)
    say(f"forward({adapter.mapping()})")
    values = adapter.tensors(trace)
    exporters.refuse(options.export)
    way = next_way(options.export, options.attempts)
    assert way is not None  # noqa: S101 - a step is made for a way
    options = lower(options, way)
    # What one exporter found doubtful holds for the next, too: they are of the model.
    doubts = [doubt for attempt in options.attempts for doubt in attempt.doubts]
    trial = exporters.Trial(way, doubts, changed=changed)

    def without(name: str) -> float:
        seeds.restore()
        return _measure_without(name, work, options, target, way)

    def blame() -> str:
        return _blame(work, rules, trial.problems, without)

    try:
        artifact, problems = _export_with(trial, work, options, target, adapter, values, rules)
    except ExportError as error:
        helped = _help(work, options, adapter, rules, run, f"{way}: {error.what.splitlines()[0]}")
        if helped is None:
            return _go_on(work, given, trial, error, blame)
        adapter = helped
        trial = exporters.Trial(way, doubts)
        try:
            artifact, problems = _export_with(trial, work, options, target, adapter, values, rules)
        except ExportError as other:
            return _go_on(work, given, trial, other, blame)
    _blame(work, rules, problems, without)
    _note_success(work, options, way)
    return {"model": _keep(work, options, adapter, values, artifact)}


def _call_once(work: Work, options: ExportOptions, target: Target, adapter: Adapter) -> list[str]:
    """Call the model as the export will, and name the tensors of its own that it changes by that."""
    trace = read_item(work.input("samples"), 0)
    values = adapter.tensors(trace)

    def call() -> Outputs:
        return {name: to_numpy(value) for name, value in adapter.call(values).items()}

    with noticed(adapter.model) as changed, torch.no_grad():
        found = fill_tables(adapter, call, trace, work, target)
    if changed:
        work.notes["changed_state"] = list(changed)
        say(f"the model changes {', '.join(changed)} when it is called")
    written = [name for name, value in zip(adapter.inputs, values, strict=True) if value._version]
    if written:
        work.notes["mutated_inputs"] = written
        say(f"the model writes into its inputs: {', '.join(written)}")
    if not options.replace:
        _expect(found, read_item(work.input("reference"), 0))
    return changed


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


def _help(
    work: Work,
    options: ExportOptions,
    adapter: Adapter,
    rules: Rules,
    run: Callable[[nn.Module], object],
    why: str,
) -> Adapter | None:
    """Give the model with the rules that step in where a way has failed; None where they find nothing."""
    if not options.export.auto_rules:
        return None
    model, fired = help_export(adapter.model, [rule["run"] for rule in options.replace], run, why)
    if not fired:
        return None
    say(f"{why}\ntrying again with {', '.join(item['rule'] for item in fired)}")
    rules.add(fired)
    helped = Adapter(model, adapter.inputs, options.outputs, options.constants)
    helped.predict(read_item(work.input("samples"), 0))
    return helped


def _go_on(
    work: Work,
    options: ExportOptions,
    trial: exporters.Trial,
    error: ExportError,
    blame: Callable[[], str],
) -> MoreSteps:
    """Answer a failure with the next way. Raises `ExportError` where there is none."""
    say(f"{trial.way}: {error}")
    failed = Attempt(
        way=trial.way,
        what=error.what,
        where=error.where,
        hint=error.hint,
        doubts=tuple(dict.fromkeys(trial.doubts)),
        reached=trial.reached,
    )
    attempts = (*options.attempts, failed)
    work.notes["attempts"] = _list(attempts)
    following = attempt_again(options, failed)
    if following is not None:
        return MoreSteps(outputs={"model": following})
    guilty = blame()
    if len(attempts) == 1:
        if not guilty:
            raise error
        raise ExportError(
            f"{error.what}\n  {guilty}", where=error.where, hint=error.hint
        ) from error
    lines = [f"  {attempt.way}: {attempt.what}" for attempt in attempts]
    logs = [f"onnxbuild log {label_of(item.way, at)!r}" for at, item in enumerate(attempts)]
    # The errors of checks name what is wrong; those of exporters often only where they gave up.
    best = next((attempt for attempt in attempts if attempt.where != "export"), attempts[0])
    raise ExportError(
        "no exporter gives what the recipe asks\n"
        + "\n".join([*lines, *([f"  {guilty}"] if guilty else [])])
        + f"\n  all that they said: {', '.join(logs)}",
        where=best.where,
        hint=best.hint,
    )


def _list(attempts: Sequence[Attempt]) -> list[dict[str, str]]:
    return [{"exporter": attempt.way, "result": attempt.what} for attempt in attempts]


def _note_success(work: Work, options: ExportOptions, way: Way) -> None:
    work.notes["attempts"] = [*_list(options.attempts), {"exporter": way, "result": "ok"}]
    _, reason = first_ways(options.export)
    if options.attempts:
        first = options.attempts[0]
        reason = f"{first.way} failed: {first.what.splitlines()[0]}"
    work.notes["exporter"] = {"name": way, "reason": reason}
    if exporters.is_converted(way, options.export):
        work.notes["exporter"]["converted_from"] = DYNAMO_LEAST
    say(f"exported with {way} ({reason})")


def _export_with(
    trial: exporters.Trial,
    work: Work,
    options: ExportOptions,
    target: Target,
    adapter: Adapter,
    values: Sequence[torch.Tensor],
    rules: Rules,
) -> tuple[Artifact, list[Problem]]:
    modules = {path for path, _ in adapter.module.named_modules() if path}
    with rules.translated(exporter_of(trial.way), options.export):
        model = exporters.run_exporter(trial, adapter, values, target, options, work)
    name_nodes(model, modules)
    rules.replace_nodes(model, folded=options.export.constant_folding)
    name_nodes(model, modules)
    work.notes |= rules.notes()
    trial.reached = "checks"
    try:
        return _check(model, trial, work, options, target, adapter)
    except ExportError as error:
        raise explain_check(error, trial.find_fixing, trial.changed) from error


def _check(
    model: ir.Model,
    trial: exporters.Trial,
    work: Work,
    options: ExportOptions,
    target: Target,
    adapter: Adapter,
) -> tuple[Artifact, list[Problem]]:
    """Make the graph what the recipe asks, and keep it if it is the model at every sample."""
    settle(model, target, opset_of(options.export))
    if options.export.constant_folding:
        work.notes["constant_folding"] = fold(model)
    finish(model, options)
    artifact = put(model, work.store)
    problems = trial.problems = _measure(work, artifact, target)
    for problem in problems:
        say(f"{trial.way}, sample {problem.index}: {problem.text}")
    judge(problems, target.shapes, trial.way, numbers=options.export.exporter == "auto")
    visit(work, work.store.path(artifact), adapter, target, trial.doubts, trial.way)
    return artifact, problems


def _measure(work: Work, artifact: Artifact, target: Target) -> list[Problem]:
    names = [port.name for port in target.inputs]
    graph = work.store.path(artifact)
    return measure(graph, names, work.input("samples"), work.input("reference"))


def _blame(
    work: Work, rules: Rules, problems: Sequence[Problem], without: Callable[[str], float]
) -> str:
    """Find the rule that moves the numbers, where they are off and rules have fired; note it, and say so."""
    if not rules.fired or not problems:
        return ""
    guilty = find_guilty(rules.fired, worst(problems), without)
    if guilty is None:
        return ""
    work.notes["guilty"] = guilty
    say(tell_guilty(guilty))
    return tell_guilty(guilty)


def _measure_without(
    name: str, work: Work, options: ExportOptions, target: Target, way: Way
) -> float:
    """Export once more without a rule, and give how far the graph is off then."""
    fewer = tuple(rule for rule in options.replace if rule["name"] != name)
    trace = read_item(work.input("samples"), 0)
    names = [port.name for port in target.inputs]

    def run(module: nn.Module) -> None:
        Adapter(module, names, None, options.constants).predict(trace)

    rules = Rules(fewer)
    model = rules.replace_modules(load_model(options.model), run)
    adapter = Adapter(model, names, options.outputs, options.constants)
    adapter.predict(trace)
    trial = exporters.Trial(way, [])
    with rules.translated(exporter_of(way), options.export):
        graph = exporters.run_exporter(
            trial, adapter, adapter.tensors(trace), target, options, work
        )
    rules.replace_nodes(graph, folded=options.export.constant_folding)
    settle(graph, target, opset_of(options.export))
    finish(graph, options)
    return worst(_measure(work, put(graph, work.store), target))


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
    replaced = [name for rule in work.notes.get("rules", ()) for name in rule.get("weights", ())]
    if replaced:
        # Of the model as the user wrote it; a rule made others of them, or none.
        covered["replaced"] = replaced
    work.notes["weights"] = covered
    for kind in KINDS:
        if kind in covered:
            say(f"weights {kind}: {', '.join(covered[kind])}")
    if options.export.export_params:
        return artifact
    work.notes["weights_as_inputs"] = drop_weights(model, state)
    return put(model, work.store)
