"""A model in onnxruntime, fed with dicts of arrays by the names of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from onnxbuild.arrays import Array, convert
from onnxbuild.errors import DataError, ModelError
from onnxbuild.graph import sessions
from onnxbuild.graph.emulate import needs_emulation, runnable


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
