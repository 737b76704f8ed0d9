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
from onnxbuild.steps.running import Runner

EXAMPLE = 1
"""Which sample is timed: the example, after the traced one."""
LEAST_RUNS = 3
MOST_RUNS = 200


def benchmark(work: Work) -> dict[str, Artifact]:
    """Give the ``latency``: median seconds of ``model`` and ``baseline`` at the example shape.

    ``{"seconds", "baseline", "speedup", "runs"}``; all but ``runs`` None for a model without its
    weights, and for one that this provider does not compute.
    """
    options = build(BenchmarkOptions, work.options)
    item = read_item(work.input("samples"), EXAMPLE)
    artifacts = work.inputs()
    model = Runner(work.input("model"), options.threads, as_served=True)
    if model.missing(item) or model.emulated:
        return {"latency": work.put_json(_result(None, None, 0))}
    runners = [model]
    if artifacts["model"].digest != artifacts["baseline"].digest:
        runners.append(Runner(work.input("baseline"), options.threads, as_served=True))
    times = time_in_turns(runners, item, options.seconds)
    seconds = median(times[0])
    return {"latency": work.put_json(_result(seconds, median(times[-1]), len(times[0])))}


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


def _result(seconds: float | None, baseline: float | None, runs: int) -> dict[str, Any]:
    speedup = baseline / seconds if seconds and baseline is not None else None
    return {"seconds": seconds, "baseline": baseline, "speedup": speedup, "runs": runs}
