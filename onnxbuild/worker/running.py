"""Running one job in this process."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import ASKED, Failure, Job, MoreSteps, Outcome, Work
from onnxbuild.core.values import plain
from onnxbuild.errors import StepError, StoreError
from onnxbuild.executors.messages import Json, job_from_json, outcome_to_json
from onnxbuild.observe.observer import Observed, Observer
from onnxbuild.stores.local import LocalStore
from onnxbuild.worker.failures import explain
from onnxbuild.worker.growth import write_growth
from onnxbuild.worker.place import clean_place
from onnxbuild.worker.work import StepWork

LOG = "log"
"""Name of the log in a job's private folder, from where whoever survives the step lifts it."""


def run(job: Json, folder: str | None = None) -> Json:
    """Run one job, given and answered as plain JSON; no error of the step leaves here.

    `folder` is the job's private folder inside the store, which the caller removes afterwards; without one
    it is made and removed here.
    """
    read = job_from_json(job)
    with ExitStack() as stack:
        try:
            store = LocalStore(read.store)
            stack.callback(store.close)
            private = folder or stack.enter_context(store.folder())
        except (StoreError, OSError) as error:
            _, failure = explain(error, read)
            return outcome_to_json(Outcome(status="failed", failure=failure))
        return outcome_to_json(_run(read, store, private))


def _run(job: Job, store: LocalStore, private: str) -> Outcome:
    log = os.path.join(private, LOG)
    started = time.perf_counter()
    outcome = _run_observed(job, store, private, log)
    outcome = replace(outcome, seconds=time.perf_counter() - started, memory=peak_memory())
    try:
        return replace(outcome, log=lift_log(store, log))
    except StoreError as error:
        failure = Failure(what=error.what, where=error.where, hint=error.hint, kind="StoreError")
        return Outcome(status="failed", failure=failure, seconds=outcome.seconds)


def _run_observed(job: Job, store: LocalStore, private: str, log: str) -> Outcome:
    folder = os.path.join(private, "work")
    ignored = (*job.ignored, store.root)
    seen = job.seen or os.path.join(private, "seen")
    observer = Observer(root=job.root, roots=job.roots, ignored=ignored, log=seen)
    observed: Observed | None = None
    try:
        os.makedirs(folder, exist_ok=True)
        work = StepWork(job, store, folder)
        if job.run.startswith("onnxbuild."):
            # The key has the code of our own modules; what they import is a dependency by version.
            import_module(job.run.partition(":")[0])
        with clean_place(job, folder, log):
            observer.start()
            try:
                answer = _find_function(job.run)(work)
            finally:
                observed = observer.stop()
        return _believe(observed) or _conclude(job, work, answer, observed)
    except BaseException as error:  # noqa: BLE001 - every end of a step is reported, none is passed on
        # Where the disk has no room for it, the outcome still says what failed.
        with suppress(OSError), open(log, "a", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exception(error, file=file)
        status, failure = explain(error, job)
        if observed is not None and status == "failed":
            return _believe(observed) or Outcome(status=status, failure=failure)
        return Outcome(status=status, failure=failure)


def _believe(observed: Observed) -> Outcome | None:
    """Give the outcome of a step whose result, or failure, belongs to no state of the project."""
    if observed.changed:
        what = f"changed while the step read them: {', '.join(observed.changed)}"
        return Outcome(status="changed", failure=Failure(what=what))
    if observed.lost:
        what = f"what the step read is not known for certain: {'; '.join(observed.lost)}"
        return Outcome(status="changed", failure=Failure(what=what))
    return None


def _conclude(job: Job, work: StepWork, answer: object, observed: Observed) -> Outcome:
    if observed.asked:
        work.notes[ASKED] = list(observed.asked)
    outcome = Outcome(
        status="ok",
        observations=observed.facts,
        signatures=observed.signatures,
        notes=_check_notes(work.notes, job),
    )
    if isinstance(answer, MoreSteps):
        return replace(outcome, status="steps", grown=write_growth(answer, job))
    return replace(outcome, results=_check_results(answer, job))


def _find_function(name: str) -> Callable[[Work], Any]:
    module, _, attribute = name.partition(":")
    found: Any = import_module(module)
    function = getattr(found, attribute, None)
    if callable(function):
        return function  # type: ignore[no-any-return]
    near = get_close_matches(attribute, dir(found), n=1)
    raise StepError(
        f"{module} has no function {attribute!r}", hint=f"did you mean {near[0]!r}?" if near else ""
    )


def _check_results(answer: object, job: Job) -> Mapping[str, Artifact]:
    if not isinstance(answer, Mapping):
        raise StepError(
            f"the step answered with a {type(answer).__name__}",
            where=job.run,
            hint="a run function returns {output name: Artifact}, or MoreSteps",
        )
    if sorted(answer) != sorted(job.outputs):
        raise StepError(
            f"the step's outputs are {', '.join(job.outputs)}, it gave {', '.join(answer) or 'none'}",
            where=job.run,
        )
    for name, artifact in answer.items():
        if not isinstance(artifact, Artifact):
            raise StepError(
                f"the output {name!r} is a {type(artifact).__name__}, not an Artifact",
                where=job.run,
            )
    return {name: answer[name] for name in job.outputs}


def _check_notes(notes: dict[str, Any], job: Job) -> Mapping[str, Any]:
    try:
        read: dict[str, Any] = json.loads(json.dumps(plain(notes)))
    except TypeError as error:
        raise StepError(f"the step's notes are not plain values: {error}", where=job.run) from error
    return read


def lift_log(store: LocalStore, path: str) -> str:
    """Keep a log in the store and give its digest; empty when nothing was printed."""
    try:
        if os.path.getsize(path) == 0:
            return ""
    except FileNotFoundError:
        return ""
    return store.put_file(path)


def peak_memory() -> int:
    """Give the peak of this process's and of its children's resident memory, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )
