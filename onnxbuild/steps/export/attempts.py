"""Export the model: replace modules, try one way, keep the graph or go on to the next way.

Each way that is tried is a step of its own: where one fails, the step answers with the next, which knows what
has failed before. So a failed way is not tried again until something that it depends on changes.

The two run modules of the step, `run` and `scripted`, differ in what they warm and share this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import onnx_ir as ir

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import MoreSteps, Work
from onnxbuild.core.values import build
from onnxbuild.errors import ExportError
from onnxbuild.graph.load import read
from onnxbuild.graph.save import put
from onnxbuild.steps.export import exporters
from onnxbuild.steps.export.coverage import KINDS, cover, state_of
from onnxbuild.steps.export.finish import drop_weights
from onnxbuild.steps.export.fixed import find_loops
from onnxbuild.steps.export.onnxfile import export_onnx
from onnxbuild.steps.export.spec import ExportOptions, attempt_again, label_of, lower, name_of
from onnxbuild.steps.export.subject import Subject, call_once, compile_subject, help_subject, load
from onnxbuild.steps.export.target import read_target
from onnxbuild.steps.export.trying import blame, try_way
from onnxbuild.steps.export.ways import COMPILED, DYNAMO_LEAST, Attempt, Way, first_ways, next_trial
from onnxbuild.steps.model.loading import Seeds
from onnxbuild.steps.model.program import read_inputs
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
    exporters.refuse(options.export)
    following = next_trial(options.export, options.attempts)
    assert following is not None  # noqa: S101 - a step is made for a way
    way, is_helped = following
    subject = load(work, lower(options, way), target)
    call_once(subject)
    say(f"forward({subject.adapter.mapping()})")
    trial = _begin(way, options, subject)
    try:
        if way == COMPILED:
            loops = [loop for attempt in options.attempts for loop in attempt.loops]
            subject = compile_subject(subject, tuple(dict.fromkeys(loops)))
        if is_helped:
            why = options.attempts[-1].what.splitlines()[0]
            subject = help_subject(subject, f"{way}: {why}") or subject
        artifact = try_way(trial, subject)
    except ExportError as error:
        failed = _note_failure(trial, error, subject, is_helped=is_helped)
        return _go_on(work, given, failed, error, lambda: blame(trial, subject, seeds))
    blame(trial, subject, seeds)
    _note_success(work, options, way, is_helped=is_helped)
    return {"model": _keep(subject, artifact)}


def _begin(way: Way, options: ExportOptions, subject: Subject) -> exporters.Trial:
    # What one exporter found doubtful holds for the next, too: they are of the model.
    doubts = [doubt for attempt in options.attempts for doubt in attempt.doubts]
    return exporters.Trial(way, doubts, changed=subject.changed, draws=subject.draws)


def _note_failure(
    trial: exporters.Trial, error: ExportError, subject: Subject, *, is_helped: bool
) -> Attempt:
    """Say why a way failed, and write down what the next ones need to know of it."""
    say(f"{trial.way}: {error}")
    helped = None if is_helped else help_subject(subject, f"{trial.way} failed")
    return Attempt(
        way=trial.way,
        what=error.what,
        where=error.where,
        hint=error.hint,
        doubts=tuple(dict.fromkeys(trial.doubts)),
        loops=find_loops(trial.fixing),
        reached=trial.reached,
        is_helped=is_helped,
        helpers=() if helped is None else tuple(helped.rules.helpers),
    )


def _go_on(
    work: Work,
    options: ExportOptions,
    failed: Attempt,
    error: ExportError,
    blame: Callable[[], str],
) -> MoreSteps:
    """Answer a failure with the next way. Raises `ExportError` where there is none."""
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
    lines = [f"  {name_of(attempt.way, attempt.is_helped)}: {attempt.what}" for attempt in attempts]
    logs = [
        f"onnxbuild log {label_of(item.way, item.is_helped, at)!r}"
        for at, item in enumerate(attempts)
    ]
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
    return [
        {"exporter": name_of(attempt.way, attempt.is_helped), "result": attempt.what}
        for attempt in attempts
    ]


def _note_success(work: Work, options: ExportOptions, way: Way, *, is_helped: bool) -> None:
    own = {"exporter": name_of(way, is_helped), "result": "ok"}
    work.notes["attempts"] = [*_list(options.attempts), own]
    _, reason = first_ways(options.export)
    others = [attempt for attempt in options.attempts if attempt.way != way]
    if others:
        reason = f"{others[0].way} failed: {others[0].what.splitlines()[0]}"
    work.notes["exporter"] = {"name": way, "reason": reason}
    if exporters.is_converted(way, options.export):
        work.notes["exporter"]["converted_from"] = DYNAMO_LEAST
    say(f"exported with {way} ({reason})")


def _keep(subject: Subject, artifact: Artifact) -> Artifact:
    """Account for every weight, and take them out where the recipe wants the graph alone."""
    work, adapter = subject.work, subject.adapter
    model: ir.Model = read(work.store.path(artifact))
    state = state_of(adapter.model)
    covered = cover(state, model, lambda: adapter.call(subject.values))
    replaced = [name for rule in work.notes.get("rules", ()) for name in rule.get("weights", ())]
    if replaced:
        # Of the model as the user wrote it; a rule made others of them, or none.
        covered["replaced"] = replaced
    work.notes["weights"] = covered
    for kind in KINDS:
        if kind in covered:
            say(f"weights {kind}: {', '.join(covered[kind])}")
    if subject.options.export.export_params:
        return artifact
    work.notes["weights_as_inputs"] = drop_weights(model, state)
    return put(model, work.store)
