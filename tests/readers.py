"""A project whose steps read in every way there is, built by real workers, and what an edit of it does."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from onnxbuild import api
from onnxbuild.arrays import read_item
from onnxbuild.compose import Composition
from onnxbuild.core import answers
from onnxbuild.core.events import Listener
from onnxbuild.core.ports import Executor, Outcome
from onnxbuild.core.trace import Fact
from onnxbuild.engine.build import Build
from onnxbuild.engine.setting import Record, Site
from onnxbuild.executors.process import ProcessExecutor
from onnxbuild.observe.witness import COARSE, NetWitness
from onnxbuild.planner import Plan
from onnxbuild.recipe.schema import DataEntry, Model, Recipe, Settings
from onnxbuild.steps.data.spec import collect
from onnxbuild.stores.local import LocalStore
from onnxbuild.workplace import Workplace

HEAD = "from pathlib import Path\n\nHERE = Path(__file__).parent\n"
TAIL = "\n\ndef rows():\n    return [{'value': int(value())}]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Code that reads the number 1, what makes it read the number 2, and what names the change."""

    name: str
    """Of its step, and of its folder."""
    code: str
    """A module with a function ``value``. ``HERE`` is the folder it lies in."""
    write: Callable[[Path, int], object]
    """Puts a number where the code reads it: 1 to begin with, 2 as the edit."""
    told: str
    """What `explain` says afterwards, with ``{}`` for the folder."""


def text(*names: str, form: str = "{}") -> Callable[[Path, int], None]:
    """Write a number into a file of the folder."""

    def write(folder: Path, number: int) -> None:
        path = folder.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(form.format(number))

    return write


def settle(place: Path) -> None:
    """Wait until all that is there is older than the clocks of file systems are coarse."""
    newest = max(os.lstat(path).st_ctime_ns for path in (place, *place.rglob("*")))
    while time.time_ns() - newest <= COARSE:
        pass


def make(base: Path, readers: Sequence[Reader]) -> None:
    """Write a project with a reader in each of its folders."""
    for reader in readers:
        folder = base / "project" / reader.name
        folder.mkdir(parents=True)
        (folder / "read.py").write_text(HEAD + reader.code + TAIL)
        reader.write(folder, 1)


class Builder:
    """Builds the steps of a project of readers with workers of its own."""

    def __init__(self, base: Path, readers: Sequence[Reader], **options: Any) -> None:
        """Take the folder of the project and of all that is around it, and options of the executor."""
        self.base = base
        self.root = base / "project"
        self.readers = readers
        self.variables: dict[str, str] = {}
        self.pass_env: tuple[str, ...] = ()
        self.facts: tuple[Fact, ...] = ()
        self.records: dict[str, Record] = {}
        self.store = LocalStore(str(base / "store"))
        self._queue: SimpleQueue[tuple[str, Outcome]] = SimpleQueue()
        self._executor: Executor = ProcessExecutor(
            lambda name, outcome: self._queue.put((name, outcome)),
            2,
            path=[str(base / "editable")],
            **options,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.close()
        self.store.close()

    def workplace(self, *names: str) -> Workplace:
        """Plan the steps of the readers named, of all if none is."""
        names = names or tuple(reader.name for reader in self.readers)
        recipe = Recipe(
            name="readers",
            model=Model(onnx="none.onnx"),
            data={name: DataEntry(entry=f"{name}/read.py:rows") for name in names},
            pass_env=self.pass_env,
        )
        steps = tuple(collect(recipe, name).step for name in names)
        composition = Composition(
            recipe=recipe, facts=(), root=str(self.root), canonical={}, sources=()
        )
        return Workplace(
            compositions=(composition,),
            plan=Plan(
                steps=steps, variants=(), owners={id(step): (recipe.name,) for step in steps}
            ),
            store=self.store,
            site=Site(root=str(self.root), variables=self.variables),
            settings=Settings(),
        )

    def build(self, *names: str, listen: Listener = lambda _: None) -> list[str]:
        """Bring the steps up to date, one after the other; give the names of the readers whose step ran."""
        workplace = self.workplace(*names)
        with self.store.folder() as folder, NetWitness(str(self.root), ()) as witness:
            process = Build(
                workplace.plan.steps, store=self.store, executor=self._executor, outcomes=self._queue,
                site=workplace.site, jobs=1, witness=witness, listen=listen, folder=folder,
            )  # fmt: skip
            process.run()
        process.close()
        failures = [record.failure for record in process.records if record.failure]
        assert not failures, failures
        api.note_latest(workplace, process)
        self.facts = api.build_facts(process)
        self.records = {
            record.step.label.removeprefix("data "): record for record in process.records
        }
        return [name for name, record in self.records.items() if record.status == "ran"]

    def value(self, name: str) -> int:
        """Give the number that is the present result of a reader's step."""
        trace = self.records[name].trace
        assert trace is not None
        return int(read_item(self.store.path(trace.results["items"]), 0)["value"])

    def explain(self) -> dict[str, list[str]]:
        """Give what ``explain --json`` says of the steps that are not cached."""
        steps = api.view(self.workplace()).to_json()["steps"]
        return {
            step["label"].removeprefix("data "): step["causes"]
            for step in steps
            if step["status"] != "cached"
        }

    def remember(self) -> None:
        """Remember an answer that rests on what the last build rested on."""
        (self.base / "answers").mkdir(exist_ok=True)
        answers.remember(
            str(self.base / "answers"), "", self.facts, {}, str(self.root), {}, (), "known"
        )

    def recall(self) -> str | None:
        """Give the remembered answer, if a fully cached call would print it."""
        return answers.recall(str(self.base / "answers"), "", str(self.root))

    @contextmanager
    def kept(self, name: str) -> Iterator[Path]:
        """Put everything of a reader back at the end, as it is now."""
        places = [self.root / name, self.base / "outside" / name, self.base / "editable"]
        saved = self.base / "saved"
        for number, place in enumerate(places):
            if place.exists():
                shutil.copytree(place, saved / str(number), symlinks=True)
        try:
            yield places[0]
        finally:
            for number, place in enumerate(places):
                shutil.rmtree(place, ignore_errors=True)
                if (saved / str(number)).exists():
                    shutil.copytree(saved / str(number), place, symlinks=True)
            shutil.rmtree(saved)
