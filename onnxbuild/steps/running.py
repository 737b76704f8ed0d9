"""A model in onnxruntime, fed with dicts of arrays by the names of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from onnxbuild.arrays import Array, convert
from onnxbuild.core.ports import Work
from onnxbuild.errors import DataError, ModelError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import needs_emulation, runnable
from onnxbuild.steps.served import PREFIX, is_served


class Runner:
    """One session on the CPU, with a constant number of threads."""

    def __init__(
        self,
        model: str | bytes,
        threads: int = 1,
        change: Callable[[ort.SessionOptions], None] | None = None,
        *,
        as_served: bool = False,
    ) -> None:
        """Load a file or the bytes of a model; `change` may add to the session's options.

        With `as_served` a large model takes the memory, and the time, that it takes its users. Raises `ModelError` where it does not load.
        """
        self.emulated = False
        """It rounds each result as the model does that it stands for, which does not run on this provider."""
        options = sessions.options(threads)
        if change is not None:
            change(options)
        try:
            if isinstance(model, str):
                model = self._read(model, options, as_served)
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(
                f"the model does not load in onnxruntime: {sessions.readable(error)}",
                hint="the last stage made what does not load: look at its options, or leave it out",
            ) from error
        self.inputs: dict[str, str] = {item.name: item.type for item in self._session.get_inputs()}
        """By name, the type in onnxruntime's words. Weights that are inputs too are not here."""
        self.outputs: dict[str, str] = {
            item.name: item.type for item in self._session.get_outputs()
        }
        """Likewise."""

    def _read(self, path: str, options: ort.SessionOptions, as_served: bool) -> str | bytes:
        """Give what is loaded for the model at `path`: itself, or what it is in float32 where it does not run."""
        if is_ort_format(path):
            options.add_session_config_entry("session.load_model_format", "ORT")
            return path
        proto = onnx.load(path, load_external_data=False)
        if needs_emulation(proto):
            self.emulated = True
            sessions.find_weights(options, path)
            return bytes(runnable(path).SerializeToString())
        if not as_served:
            sessions.spare(options, proto)
        return path

    def missing(self, names: Collection[str]) -> list[str]:
        """List the inputs that are not among `names`."""
        return [name for name in self.inputs if name not in names]

    def feed(self, item: Mapping[str, Array], what: str) -> dict[str, Array]:
        """Pick the model's inputs out of an item, with the types that it takes.

        `what` names the item. Raises `DataError` where one is missing or is of a type that loses values.
        """
        missing = self.missing(item)
        if missing:
            raise DataError(
                f"{what} has no {', '.join(missing)}",
                hint=f"it has: {', '.join(item)}; the model's inputs are {', '.join(self.inputs)}",
            )
        return {
            name: convert(item[name], sessions.TYPES[kind], name=f"{name!r} of {what}")
            if kind in sessions.TYPES
            else item[name]
            for name, kind in self.inputs.items()
        }

    def run(
        self, item: Mapping[str, Array], what: str, names: Collection[str] | None = None
    ) -> dict[str, Any]:
        """Run an item; give the outputs called `names`, all if left out. Raises `ModelError`."""
        wanted = list(self.outputs if names is None else names)
        if not wanted:
            # To onnxruntime, no names are all names.
            return {}
        return dict(zip(wanted, self.run_fed(self.feed(item, what), what, wanted), strict=True))

    def run_fed(
        self, feed: Mapping[str, Array], what: str = "the sample", names: list[str] | None = None
    ) -> list[Any]:
        """Run what `feed` gave."""
        try:
            return list(self._session.run(names, dict(feed)))
        except Exception as error:
            told = ", ".join(f"{name} {list(np.shape(value))}" for name, value in feed.items())
            raise ModelError(
                f"the model fails on {what} ({told}): {sessions.readable(error)}",
                hint="if a dimension differs from the one that was traced, declare it in `dynamic_axes`, "
                "or bound it under `dims`",
            ) from error


class Chain(Runner):
    """Several models that are fed by name with what is given and with what those before them gave."""

    def __init__(self, paths: Iterable[str], threads: int = 1, *, as_served: bool = False) -> None:
        """Load the files, whose order is that in which they run. Raises `ModelError` where one does not load."""
        self._parts = [Runner(path, threads, as_served=as_served) for path in paths]
        self.emulated = any(part.emulated for part in self._parts)
        self.inputs = {}
        self.outputs = {}
        for part in self._parts:
            for name, kind in part.inputs.items():
                if name not in self.outputs:
                    self.inputs.setdefault(name, kind)
            self.outputs |= part.outputs

    def run_fed(
        self, feed: Mapping[str, Array], what: str = "the sample", names: list[str] | None = None
    ) -> list[Any]:
        """Run one after the other."""
        values: dict[str, Any] = dict(feed)
        for part in self._parts:
            given = {name: values[name] for name in part.inputs}
            values |= zip(part.outputs, part.run_fed(given, what), strict=True)
        return [values[name] for name in (self.outputs if names is None else names)]


def open_served(work: Work, threads: int, *, as_served: bool = False) -> Runner:
    """Load what a variant publishes: the files among a step's inputs, where there are any, else its ``model``."""
    files = {name.removeprefix(PREFIX) for name in work.inputs() if is_served(name)}
    paths = [work.input(PREFIX + name) for name in sorted(files, key=_place)]
    if len(paths) > 1:
        return Chain(paths, threads, as_served=as_served)
    return Runner((paths or [work.input("model")])[0], threads, as_served=as_served)


def _place(name: str) -> tuple[int, str]:
    """Order files by the numbers in their names: part-2 comes before part-10."""
    digits = "".join(filter(str.isdigit, name))
    return int(digits or 0), name


def is_ort_format(path: str) -> bool:
    """Tell whether a file is in onnxruntime's own format, which its fifth to eighth bytes say."""
    with open(path, "rb") as file:
        return file.read(8)[4:] == b"ORTM"
