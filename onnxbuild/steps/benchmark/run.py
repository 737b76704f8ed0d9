"""Time a model and its baseline in turns, so that whatever slows the machine slows both."""

from __future__ import annotations

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from onnxbuild.arrays import Array, read_item
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.steps.benchmark.spec import BenchmarkOptions
from onnxbuild.steps.running import Runner, open_served
from onnxbuild.steps.served import is_served

EXAMPLE = 1
"""Which sample is timed: the example, after the traced one."""
LEAST_RUNS = 3
MOST_RUNS = 200


def benchmark(work: Work) -> dict[str, Artifact]:
    """Give the ``latency``: median seconds of ``model``, ``baseline`` and ``source`` at the example shape.

    ``{"seconds", "baseline", "speedup", "source", "speedup_over_source", "runs"}``; all but ``runs`` None for a
    model without its weights. Without a source the baseline is that too.
    """
    options = build(BenchmarkOptions, work.options)
    item = read_item(work.input("samples"), EXAMPLE)
    artifacts = work.inputs()
    model = open_served(work, options.threads, as_served=True)
    if model.missing(item):
        return {"latency": work.put_json(_result(None, None, None, 0))}
    # A model that is there twice is timed once; files that stand for it are none of the others.
    own = "files" if any(map(is_served, artifacts)) else artifacts["model"].digest
    digests = {
        "model": own,
        **{name: artifacts[name].digest for name in ("baseline", "source") if name in artifacts},
    }
    runners = {own: model}
    compared = ["baseline", "source"] if "source" in artifacts else ["baseline"]
    for name in compared:
        if digests[name] not in runners:
            runners[digests[name]] = Runner(work.input(name), options.threads, as_served=True)
    times = time_in_turns(list(runners.values()), item, options.seconds)
    seconds = dict(zip(runners, map(median, times), strict=True))
    taken, baseline, source = (
        seconds[digests[name]] for name in ("model", "baseline", compared[-1])
    )
    return {"latency": work.put_json(_result(taken, baseline, source, len(times[0])))}


def time_in_turns(
    runners: list[Runner], item: Mapping[str, Array], seconds: float
) -> list[list[float]]:
    """Run each model on `item` in turns for about so many `seconds`; give its times."""
    feeds = [runner.feed(item, "the example") for runner in runners]
    # Not timed: the first run allocates.
    for runner, feed in zip(runners, feeds, strict=True):
        runner.run_fed(feed)
    times: list[list[float]] = [[] for _ in runners]
    until = time.perf_counter() + seconds
    while len(times[0]) < LEAST_RUNS or (len(times[0]) < MOST_RUNS and time.perf_counter() < until):
        for runner, feed, taken in zip(runners, feeds, times, strict=True):
            start = time.perf_counter()
            runner.run_fed(feed)
            taken.append(time.perf_counter() - start)
    return times


def _result(
    seconds: float | None, baseline: float | None, source: float | None, runs: int
) -> dict[str, Any]:
    return {
        "seconds": seconds,
        "baseline": baseline,
        "speedup": _over(baseline, seconds),
        "source": source,
        "speedup_over_source": _over(source, seconds),
        "runs": runs,
    }


def _over(one: float | None, other: float | None) -> float | None:
    return one / other if other and one is not None else None
