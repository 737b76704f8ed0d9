"""What an executor is told of jobs that may come, so that it loads what they need while it waits as well."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnxbuild.core.ports import Executor
from onnxbuild.engine.scheduler import Node, Scheduler


class Hints:
    """Names run modules: once those of all that is open, and what can follow on a job as soon as that runs."""

    def __init__(self, scheduler: Scheduler, executor: Executor) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._named: set[str] = set()
        self._is_all_named = False

    def give(self, running: Sequence[int]) -> None:
        """Tell the executor what it does not know yet. `running` are the numbers of the nodes that have jobs."""
        if not running:
            return
        soon = [
            name
            for name in _modules(self._scheduler.successors(running))
            if name not in self._named
        ]
        if soon:
            self._named.update(soon)
            self._executor.prepare(soon, soon=True)
        if not self._is_all_named:
            self._is_all_named = True
            nodes = self._scheduler.nodes
            self._executor.prepare(_modules(node for node in nodes if node.state != "done"))


def _modules(nodes: Iterable[Node]) -> list[str]:
    return list(dict.fromkeys(node.step.run.partition(":")[0] for node in nodes))
