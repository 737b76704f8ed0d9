"""All that can be wrong with a recipe beyond the types of its values, found at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import ceil
from typing import Any

from onnxbuild.recipe.building import EXPORT, Registry
from onnxbuild.recipe.check_feeds import feed_mistakes
from onnxbuild.recipe.check_files import file_mistakes, marked_text
from onnxbuild.recipe.check_graph import graph_mistakes
from onnxbuild.recipe.check_names import form_mistakes
from onnxbuild.recipe.check_order import order_mistakes
from onnxbuild.recipe.check_rules import rule_mistakes
from onnxbuild.recipe.check_shapes import shape_mistakes
from onnxbuild.recipe.looking import Looking
from onnxbuild.recipe.messages import schema_mistakes
from onnxbuild.recipe.mistakes import KeyPath, Mistake, did_you_mean, dotted
from onnxbuild.recipe.opsets import opset_mistakes
from onnxbuild.recipe.sources import Sources

EXPORTING: Mapping[str, Any] = {
    "exporter": "auto",
    "constant_folding": True,
    "auto_rules": True,
    "strict": False,
    "custom_opsets": {},
}
"""Keys of ``export`` that do something to a PyTorch model alone, with their usual values."""

MODELS = ("entry", "onnx", "program", "huggingface")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(
    data: Mapping[str, Any],
    *,
    sources: Sources,
    looking: Looking,
    registry: Registry,
    folder: str,
) -> list[Mistake]:
    """Give every mistake in a completed recipe; `folder` is the recipe's, an absolute path."""
    found = list(schema_mistakes(data, sources, registry))
    wrong = {mistake.path for mistake in found}
    words = _Words(data, sources)
    later = [
        *words.model_mistakes(),
        *words.input_mistakes(),
        *form_mistakes(data, sources),
        *feed_mistakes(data, sources),
        *words.export_mistakes(),
        *words.data_mistakes(marked_text(data, registry)),
        *words.verify_mistakes(),
        *words.setting_mistakes(registry),
        *shape_mistakes(data, sources),
        *graph_mistakes(data, sources),
        *rule_mistakes(data, sources, registry),
        *file_mistakes(data, sources, looking, registry, folder),
    ]
    # What has the wrong type, or no name, is not complained of a second time.
    found += [mistake for mistake in later if mistake.path not in wrong]
    paths = {mistake.path for mistake in found}
    found += order_mistakes(data, sources, registry, paths)
    return [_once(mistake, sources) for mistake in found]


def _once(mistake: Mistake, sources: Sources) -> Mistake:
    """Speak of an entry that stands for many by the name that was written: many mistakes become one."""
    path = sources.written(mistake.path)
    if path[:2] == mistake.path[:2] or path[:1] != mistake.path[:1]:
        return mistake
    what = mistake.what.replace(mistake.path[1], path[1])
    return Mistake(what, place=mistake.place, hint=mistake.hint, path=mistake.path)


class _Words:
    """The checks that look at one section, or at two that must agree."""

    def __init__(self, data: Mapping[str, Any], sources: Sources) -> None:
        self.data = data
        self.sources = sources

    def mistake(self, path: KeyPath, what: str, hint: str = "", part: Any = "value") -> Mistake:
        return Mistake(what, place=self.sources.place(path, part), hint=hint, path=path)

    def section(self, *path: str) -> Mapping[str, Any]:
        value: Any = self.data
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value if isinstance(value, Mapping) else {}

    def model_mistakes(self) -> Iterator[Mistake]:
        model = self.section("model")
        given = [key for key in MODELS if model.get(key) is not None]
        if not given and "model" in self.data:
            yield self.mistake(
                ("model",),
                "`model` does not say where the model comes from",
                "give one of entry, onnx, program, huggingface",
                "key",
            )
        for key in given[1:]:
            yield self.mistake(
                ("model", key), f"`model` has `{given[0]}` already", "give one of the two", "key"
            )
        for key in ("kwargs", "weights"):
            if model.get(key) and given and given[0] != "entry":
                yield self.mistake(
                    ("model", key),
                    f"`{key}` goes with `entry`, not with `{given[0]}`",
                    "leave it out",
                    "key",
                )
        for key, usual in EXPORTING.items() if given[:1] == ["onnx"] else ():
            if self.section("export").get(key, usual) != usual:
                yield self.mistake(
                    ("export", key),
                    f"`{key}` says how to export, and the model is an ONNX file already",
                    "leave it out; the stage `onnxoptimizer` folds constants, for one",
                    "key",
                )
        has_own = given[:1] in (["onnx"], ["program"])
        if "model" in self.data and given and not has_own and not self.data.get("inputs"):
            yield self.mistake(
                ("inputs",) if "inputs" in self.data else (),
                "a recipe needs `inputs:`, the arguments of forward() with their shapes",
                "inputs: {image: [1, 3, 224, 224]}",
                "key",
            )

    def input_mistakes(self) -> Iterator[Mistake]:
        for name in self.section("inputs"):
            entry = self.section("inputs", name)
            path: KeyPath = ("inputs", name)
            origins = [
                key for key in ("range", "fill", "values", "data") if entry.get(key) is not None
            ]
            for key in origins[1:]:
                yield self.mistake(
                    (*path, key),
                    f"`{dotted(path)}` takes its values from `{origins[0]}` already",
                    "give one of the two",
                    "key",
                )
            bounds = _pair(entry.get("range"))
            if bounds and not bounds[0] < bounds[1]:
                yield self.mistake(
                    (*path, "range"),
                    f"the range [{bounds[0]}, {bounds[1]}) is empty",
                    "it is [low, high), without high itself",
                )
            dtype = entry.get("dtype", "float32")
            if not isinstance(dtype, str) or dtype.startswith(("float", "bfloat")):
                continue
            if isinstance(entry.get("fill"), float) and not entry["fill"].is_integer():
                yield self.mistake((*path, "fill"), f"{dtype} holds no {entry['fill']}")
            if bounds and bounds[0] < bounds[1] and ceil(bounds[0]) == ceil(bounds[1]):
                yield self.mistake(
                    (*path, "range"), f"no whole number is in [{bounds[0]}, {bounds[1]})"
                )
        given = self.data.get("outputs")
        outputs = given if isinstance(given, list) else []
        for index, name in enumerate(outputs):
            if not isinstance(name, str):
                continue
            written = self.sources.written(("outputs", name))
            path = written if self.sources.given(written) else ("outputs", str(index))
            if name in outputs[:index]:
                yield self.mistake(path, f"the output {name!r} is named twice")
            elif name in self.section("inputs"):
                yield self.mistake(
                    path,
                    f"{name!r} is an input and an output",
                    "a value of a graph has one name",
                )

    def export_mistakes(self) -> Iterator[Mistake]:
        export = self.section("export")
        exporter = export.get("exporter", "auto")
        for path, what, hint in opset_mistakes(export, self.section("target")):
            yield self.mistake(path, what, hint)
        for key, only, other in (
            ("keep_initializers_as_inputs", "torchscript", "dynamo"),
            ("custom_opsets", "torchscript", "dynamo"),
            ("strict", "dynamo", "torchscript"),
        ):
            if export.get(key) and exporter == other:
                yield self.mistake(
                    ("export", key),
                    f"`{key}` is for the {only} exporter, and `exporter:` says {exporter}",
                    f"leave it out, or take `exporter: {only}`",
                    "key",
                )

    def data_mistakes(self, texts: Iterator[tuple[str, KeyPath, str]]) -> Iterator[Mistake]:
        entries = self.section("data")
        for name in entries:
            entry = self.section("data", name)
            path: KeyPath = ("data", name)
            sources = [key for key in ("entry", "path") if entry.get(key) is not None]
            if isinstance(entries[name], Mapping) and not sources:
                yield self.mistake(
                    path, f"`{dotted(path)}` needs `entry`, a callable, or `path`", part="key"
                )
            if len(sources) > 1:
                yield self.mistake(
                    (*path, "path"), f"`{dotted(path)}` has `entry` and `path`", "give one", "key"
                )
            if sources == ["path"] and entry.get("kwargs"):
                yield self.mistake(
                    (*path, "kwargs"), "`kwargs` goes with `entry`, not with `path`", part="key"
                )
        for mark, path, text in texts:
            if mark == "data" and text not in entries:
                hint = did_you_mean(text, entries) or "write an entry under `data:`"
                yield self.mistake(path, f"there is no data {text!r}", hint)

    def verify_mistakes(self) -> Iterator[Mistake]:
        published = self.data.get("publish")
        listed = published if isinstance(published, list) else []
        names = [variant for variant in listed if isinstance(variant, str)]
        chosen = self.sources.place(("publish",))
        # Who publishes less for once, on the command line, need not take gates away too.
        spared = [EXPORT, *self.section("stages")] if chosen and not chosen.source else []
        for name in self.section("verify"):
            path = ("verify", name)
            if name != "default" and names and name not in [*names, *spared]:
                stages = self.section("stages")
                hint = did_you_mean(name, [*names, "default"])
                if name in stages or name == EXPORT:
                    hint = f"add it to `publish:`, which has {', '.join(names)}"
                yield self.mistake(
                    path, f"{name!r} is not published, so nothing verifies it", hint, "key"
                )
            yield from self.gate_mistakes(path, self.section("verify", name))

    def gate_mistakes(self, path: KeyPath, gates: Mapping[str, Any]) -> Iterator[Mistake]:
        here = dotted(path)
        has_metric = gates.get("metric") is not None
        for key in ("max_drop", "at_least"):
            if gates.get(key) is not None and not has_metric:
                yield self.mistake(
                    (*path, key),
                    f"`{key}` is about a metric, and `{here}` has none",
                    "add `metric: path/file.py:function`",
                    "key",
                )
        if has_metric and gates.get("data") is None:
            names = self.section("data")
            yield self.mistake(
                (*path, "metric"),
                f"`{here}` does not say what the metric is measured on",
                f"add `data:`, one of {', '.join(names)}" if names else "add `data:`",
                "key",
            )
        if gates.get("data") is not None and not has_metric:
            yield self.mistake(
                (*path, "data"), f"`{here}` has `data` but no `metric`", "add `metric:`", "key"
            )
        if has_metric and gates.get("max_drop") is None and gates.get("at_least") is None:
            yield self.mistake(
                (*path, "metric"),
                f"`{here}` measures a metric and asks nothing of it",
                "add `max_drop:` or `at_least:`",
                "key",
            )
        outputs = self.data.get("outputs")
        of_outputs = gates.get("outputs")
        for name in of_outputs if isinstance(of_outputs, Mapping) else ():
            if isinstance(outputs, list) and name not in outputs:
                yield self.mistake(
                    (*path, "outputs", name),
                    f"the model has no output {name!r}",
                    did_you_mean(name, [str(output) for output in outputs]),
                    "key",
                )

    def setting_mistakes(self, registry: Registry) -> Iterator[Mistake]:
        executor = self.section("settings").get("executor")
        if isinstance(executor, str) and executor not in registry.names("executors"):
            yield self.mistake(
                ("settings", "executor"),
                f"there is no executor {executor!r}",
                did_you_mean(executor, registry.names("executors")),
            )
        variables = self.data.get("pass_env")
        for index, name in enumerate(variables if isinstance(variables, list) else []):
            if isinstance(name, str) and not VARIABLE.fullmatch(name):
                yield self.mistake(
                    ("pass_env", str(index)),
                    f"{name!r} is no name of an environment variable",
                    "give names alone: `pass_env: [HF_HOME]`",
                )
        for name in self.section("roots"):
            if not VARIABLE.fullmatch(name):
                yield self.mistake(
                    ("roots", name),
                    f"{name!r} is no name of a root",
                    "letters, digits and underscores",
                    "key",
                )


def _pair(value: Any) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004 - low and high
        return None
    low, high = value
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    return low, high
