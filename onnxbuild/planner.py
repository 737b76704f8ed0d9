"""From recipes to a plan: the steps reachable from what is published, shared ones once.

Pure: reads no file of the project and imports neither torch, onnx, onnxruntime, numpy nor hydra.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from onnxbuild.core.digest import digest_value
from onnxbuild.core.step import Output, Step
from onnxbuild.core.values import list_orders, plain
from onnxbuild.errors import UsageError
from onnxbuild.recipe.fixing import fix, fixed_dims
from onnxbuild.recipe.schema import Recipe, Verify
from onnxbuild.recipe.stage import Precision, Stage, StageContext
from onnxbuild.steps.benchmark.spec import benchmark
from onnxbuild.steps.data.spec import collect
from onnxbuild.steps.evaluate.spec import evaluate, score
from onnxbuild.steps.export.spec import export
from onnxbuild.steps.generate.spec import reference_tokens, tokens
from onnxbuild.steps.reference.spec import predict, reference
from onnxbuild.steps.samples.spec import samples
from onnxbuild.steps.verify.spec import verify


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One published output of a recipe and what is measured of it."""

    recipe: str
    name: str
    precision: Precision
    gates: Verify
    model: Output
    exported: Output
    source: Output
    """What its last stage started from; the exported model itself for that and for its first stages."""
    fidelity: Output
    latency: Output | None = None
    """None for the exported model itself, with which the others are compared."""
    metric: Output | None = None
    reference_metric: Output | None = None
    tokens: Output | None = None
    reference_tokens: Output | None = None
    files: Mapping[str, Output] = field(default_factory=dict)
    """By name, what is published in place of ``model.onnx``; it is what is measured then."""
    stage: Stage | None = None
    """The stage that made it; None for the exported model itself."""

    @property
    def measured(self) -> tuple[Output, ...]:
        """All outputs that a judgement needs."""
        optional = (
            self.latency,
            self.metric,
            self.reference_metric,
            self.tokens,
            self.reference_tokens,
        )
        return (self.fidelity, *(output for output in optional if output))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps of one build, producers before consumers."""

    steps: tuple[Step, ...]
    variants: tuple[Variant, ...]
    owners: Mapping[int, tuple[str, ...]]
    """By the identity of a step, the recipes that need it."""

    def owner(self, step: Step) -> str:
        """Name the recipes that need a step, for people."""
        return name_owners(self.owners.get(id(step), ()))


def make_plan(recipes: Sequence[Recipe], only: Sequence[str] = ()) -> Plan:
    """Plan the published variants of `recipes`; `only` names the stages to keep, all if empty.

    Raises `UsageError` when no recipe publishes one of them.
    """
    _refuse_unknown(recipes, only)
    weaver = _Weaver()
    variants = tuple(
        weaver.variant(variant)
        for recipe in recipes
        for variant in _variants(recipe)
        if not only or variant.name in only
    )
    return Plan(
        steps=tuple(weaver.steps),
        variants=variants,
        owners={number: tuple(dict.fromkeys(names)) for number, names in weaver.owners.items()},
    )


def _refuse_unknown(recipes: Sequence[Recipe], only: Sequence[str]) -> None:
    published = dict.fromkeys(name for recipe in recipes for name in recipe.publish)
    stages = {name for recipe in recipes for name in recipe.stages}
    for name in only:
        if name in published:
            continue
        if name in stages:
            hint = f"it is a stage that `publish:` leaves out; publish=[{name}] publishes it"
        else:
            hint = suggest(name, published)
        raise UsageError(f"there is no variant {name!r}", hint=hint)


def find_label(word: str, labels: Iterable[str]) -> str:
    """Give the label that `word` is, or is a part of. Raises `UsageError` if none or several are."""
    known = list(dict.fromkeys(labels))
    if word in known:
        return word
    # `int8` names `int8: quantize`, the only step of that stage, though `verify int8` has it too.
    stages = [label for label in known if label.partition(":")[0] == word]
    parts = [label for label in known if word.casefold() in label.casefold()]
    for found in (stages, parts):
        if len(found) == 1:
            return found[0]
    if parts:
        listed = ", ".join(repr(label) for label in parts)
        raise UsageError(f"{word!r} is part of several steps' names", hint=f"say which: {listed}")
    raise UsageError(f"there is no step {word!r}", hint=suggest(word, known, "the steps are"))


def suggest(word: str, known: Iterable[str], all_are: str = "there are") -> str:
    """Give the hint for a wrong name: the nearest of the known ones, else all."""
    folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold(), folded, n=1)
    if near:
        return f"did you mean {folded[near[0]]!r}?"
    return f"{all_are} {', '.join(repr(name) for name in folded.values()) or 'none'}"


def name_owners(names: Sequence[str]) -> str:
    """Name recipes in a row; points of a sweep by what they have in common: ``digits/export.opset=18``."""
    points: dict[str, list[list[str]]] = {}
    for name in names:
        recipe, _, point = name.partition("/")
        points.setdefault(recipe, []).append(point.split(",") if point else [])
    told = []
    for recipe, given in points.items():
        common = ",".join(part for part in given[0] if all(part in other for other in given))
        told.append(f"{recipe}/{common}" if common else recipe)
    return ", ".join(told)


def _variants(recipe: Recipe) -> list[Variant]:
    collected: dict[str, Output] = {}

    def data(name: str) -> Output:
        if name not in collected:
            collected[name] = collect(recipe, name)
        return collected[name]

    visited: dict[tuple[tuple[str, int], ...], tuple[Step, Output]] = {}

    def visit(name: str) -> tuple[Step, Output]:
        """Give the samples that a variant is verified with, and PyTorch's outputs for them."""
        sizes = fixed_dims(recipe, name)
        key = tuple(sorted(sizes.items()))
        if key not in visited:
            fixed = fix(recipe, sizes)
            sampling = samples(fixed, data)
            visited[key] = (sampling, reference(fixed, Output(sampling, "samples")))
        return visited[key]

    exported = export(recipe, *visit("export"))
    outputs = {"export": exported, **_stages(recipe, exported, data, visit)}
    variants = []
    for name in recipe.publish:
        gates = recipe.verify_of(name)
        model = outputs[name]
        sampling, expected = visit(name)
        source = exported if name == "export" else outputs[recipe.stages[name].from_]
        optional: dict[str, Output] = {}
        stage = recipe.stages[name].stage if name in recipe.stages else None
        files = stage.files(model) if stage is not None else {}
        if model is not exported:
            optional["latency"] = benchmark(recipe, name, model, exported, sampling, source, files)
        if gates.metric is not None and gates.data is not None:
            items = data(gates.data)
            optional["metric"] = evaluate(recipe, name, gates, model, items, files)
            optional["reference_metric"] = score(recipe, gates, predict(recipe, items), items)
        if gates.generate is not None:
            optional["tokens"] = tokens(recipe, name, gates.generate, model, sampling, files)
            optional["reference_tokens"] = reference_tokens(recipe, gates.generate, sampling)
        precision = find_precision(recipe, name)
        beside = None if precision == "fp32" or model is exported else exported
        variants.append(
            Variant(
                recipe=recipe.name,
                name=name,
                precision=precision,
                gates=gates,
                model=model,
                exported=exported,
                source=source,
                fidelity=verify(recipe, name, model, sampling, expected, files, beside),
                files=files,
                stage=stage,
                **optional,
            )
        )
    return variants


def _stages(recipe: Recipe, exported: Output, data: Any, visit: Any) -> dict[str, Output]:
    outputs: dict[str, Output] = {}
    left = dict(recipe.stages)
    # Stages may be written in any order; the recipe's check has refused cycles and unknown names.
    while left:
        for name, use in list(left.items()):
            if use.from_ in left:
                continue
            source = exported if use.from_ == "export" else outputs[use.from_]
            sampling, expected = visit(name)
            context = StageContext(
                name=name, recipe=recipe, data=data, sampling=sampling, reference=expected
            )
            outputs[name] = use.stage.apply(source, context)
            del left[name]
    return outputs


def find_precision(recipe: Recipe, variant: str) -> Precision:
    """Say what a variant's numbers are: what the nearest stage before it made of them."""
    name = variant
    while name != "export":
        use = recipe.stages[name]
        precision = use.stage.find_precision()
        if precision is not None:
            return precision
        name = use.from_
    return "fp32"


class _Weaver:
    """Makes equal steps one, within a recipe and between recipes."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.owners: dict[int, list[str]] = {}
        self._by_identity: dict[str, Step] = {}
        self._woven: dict[int, Step] = {}
        self._kept: list[Step] = []
        """The steps as they came, so that no identity is used twice."""

    def variant(self, variant: Variant) -> Variant:
        """Give the variant with all its outputs woven in."""
        woven: dict[str, Any] = {
            field.name: self._output(value, variant.recipe)
            for field in dataclasses.fields(variant)
            if isinstance(value := getattr(variant, field.name), Output)
        }
        woven["files"] = {
            name: self._output(output, variant.recipe) for name, output in variant.files.items()
        }
        return dataclasses.replace(variant, **woven)

    def _output(self, output: Output, recipe: str) -> Output:
        pending = [output.step]
        while pending:
            step = pending[-1]
            sources = [source.step for source in step.inputs.values()]
            missing = [source for source in sources if id(source) not in self._woven]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if id(step) not in self._woven:
                self._woven[id(step)] = self._weave(step)
                self._kept.append(step)
        self._own(self._woven[id(output.step)], recipe)
        return Output(self._woven[id(output.step)], output.name)

    def _weave(self, step: Step) -> Step:
        inputs = {
            name: Output(self._woven[id(output.step)], output.name)
            for name, output in step.inputs.items()
        }
        options = plain(step.options)
        identity = digest_value(
            {
                "run": step.run,
                "options": options,
                "order": list_orders(options),
                "inputs": {name: [id(item.step), item.name] for name, item in inputs.items()},
                "outputs": list(step.outputs),
                "libraries": list(step.libraries),
                "place": [step.folder, list(step.variables), step.threads, step.machine],
            }
        )
        if identity not in self._by_identity:
            self._by_identity[identity] = dataclasses.replace(step, inputs=inputs)
            self.steps.append(self._by_identity[identity])
        return self._by_identity[identity]

    def _own(self, step: Step, recipe: str) -> None:
        pending = [step]
        while pending:
            step = pending.pop()
            names = self.owners.setdefault(id(step), [])
            if recipe not in names:
                names.append(recipe)
                pending.extend(output.step for output in step.inputs.values())
