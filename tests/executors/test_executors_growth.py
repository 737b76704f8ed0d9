"""A step that answers with more steps, from a worker's process to the results of a build and back from the cache."""

from __future__ import annotations

import os
from queue import SimpleQueue

from onnxbuild.core.step import Output, Step
from onnxbuild.engine.build import Build
from onnxbuild.engine.setting import Site
from onnxbuild.executors.process import ProcessExecutor
from onnxbuild.stores.local import LocalStore

HERE = os.path.dirname(os.path.abspath(__file__))


def test_grown_steps_run_in_workers_and_are_cached(tmp_path):
    """They run like any other step, their result stands for the grown step's, and a second build runs none."""
    (tmp_path / "project").mkdir()
    store = LocalStore(str(tmp_path / "store"))
    site = Site(root=str(tmp_path / "project"), ignored=(store.root,))
    outcomes = SimpleQueue()

    def build():
        executor = ProcessExecutor(
            lambda name, outcome: outcomes.put((name, outcome)),
            2,
            preload=("run_functions",),
            expected=(),
            path=(HERE,),
        )
        source = Step(run="run_functions:answer", label="source", options=100, outputs=("value",))
        grown = Step(
            run="run_functions:grow_for_real",
            label="grow",
            inputs={"x": Output(source, "value")},
            outputs=("value",),
            may_grow=True,
        )
        process = Build(
            [source, grown], store=store, executor=executor, outcomes=outcomes, site=site, jobs=2
        )
        try:
            process.run()
        finally:
            executor.close()
            process.close()
        return process, process.results(Output(grown, "value"))

    first, result = build()
    second, again = build()
    store.close()

    assert [record.status for record in first.records] == ["ran"] * len(first.records)
    assert len(first.records) == 4
    assert {record.status for record in second.records} == {"cached"}
    assert result.inline == "111"
    assert again == result
