"""What of the checked-in recipes is in a key, and what is not."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest

from onnxbuild.compose import compose
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.digest import digest_value
from onnxbuild.core.step import Step
from onnxbuild.core.values import hints
from onnxbuild.engine.keys import find_ingredients, make_key
from onnxbuild.graph.sparing.spec import Target
from onnxbuild.planner import make_plan
from onnxbuild.recipe.schema import DataEntry, Recipe, Settings, Verify

RECIPES = Path(__file__).parent.parent.parent / "recipes"
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@cache
def read(name: str) -> Recipe:
    """Read a recipe, with an entry of data besides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONNXBUILD_STORE", "/nowhere")
        recipe = compose(str(RECIPES / f"{name}.yaml")).recipe
    return replace(recipe, data={**recipe.data, "other": DataEntry(entry="other.py:data")})


def list_keys(recipe: Recipe) -> dict[str, list[str]]:
    """Give, by variant, the keys of its model and of all that is measured of it.

    In the place of a result that does not exist yet stands the key of the step that will give it.
    """
    plan = make_plan([recipe])
    keys: dict[int, str] = {}

    def stand_in(step: Step, name: str) -> Artifact:
        return Artifact(kind="file", digest=digest_value([keys[id(step)], name]), size=1)

    for step in plan.steps:
        inputs = {name: stand_in(out.step, out.name) for name, out in step.inputs.items()}
        keys[id(step)] = make_key(find_ingredients(step, inputs))
    return {
        variant.name: [
            keys[id(variant.model.step)],
            *(keys[id(output.step)] for output in variant.measured),
        ]
        for variant in plan.variants
    }


def another(hint: Any, value: Any) -> Any:
    """Give a value that an option of this type may have and that is not the one it has."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return next(choice for choice in arguments if choice != value)
    if origin in {Union, UnionType}:
        return another(next(item for item in arguments if item is not type(None)), value)
    if origin is tuple:
        return (*(value or ()), "x")
    if origin is not None and issubclass(origin, Mapping):
        return {**value, "WeightSymmetric": False}
    if hint is bool:
        return not value
    return (value or 0) + 1 if hint in {int, float} else "other"


SEARCHING = {"target": Target(cosine=0.5), "budget": "61s"}
"""Options that `mode: auto` alone reads, with a value that they do not have."""

OPTIONS = [
    pytest.param(name, stage, option, id=f"{name}-{stage}-{option}")
    for name in NAMES
    for stage, use in read(name).stages.items()
    for option in hints(type(use.stage))
]


@pytest.mark.parametrize(("name", "stage", "option"), OPTIONS)
def test_each_option_of_a_stage_is_in_a_key(name, stage, option):
    """Of that variant and of those that start from it; of no other."""
    recipe = read(name)
    use = recipe.stages[stage]
    if option in SEARCHING:
        use = replace(use, stage=replace(use.stage, mode="auto"))
        recipe = replace(recipe, stages={**recipe.stages, stage: use})
        value = SEARCHING[option]
    else:
        value = another(hints(type(use.stage))[option], getattr(use.stage, option))
    changed = replace(use, stage=replace(use.stage, **{option: value}))

    before = list_keys(recipe)
    after = list_keys(replace(recipe, stages={**recipe.stages, stage: changed}))

    behind = {stage}
    for other, each in recipe.stages.items():
        if each.from_ in behind:
            behind.add(other)
    assert {variant for variant in before if before[variant] != after[variant]} == behind & {
        *before
    }


def test_what_runs_a_model_has_all_that_makes_it_run_in_its_key():
    """One that onnxruntime does not compute in is run as what onnx and onnx-ir make of it."""
    running = [
        step
        for name in NAMES
        for step in make_plan([read(name)]).steps
        if "onnxruntime" in step.libraries
    ]

    assert {step.run for step in running if not {"onnx", "onnx-ir"} <= {*step.libraries}} == set()
    kinds = {step.run.rpartition(":")[2] for step in running}
    assert kinds >= {"verify", "evaluate", "benchmark", "tokens", "observe"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("setting", [field.name for field in dataclasses.fields(Settings)])
def test_no_setting_is_in_a_key(name, setting):
    """Where and how a build runs changes no result."""
    recipe = read(name)
    value = another(hints(Settings)[setting], getattr(recipe.settings, setting))

    settings = replace(recipe.settings, **{setting: value})

    assert settings != recipe.settings
    assert list_keys(replace(recipe, settings=settings)) == list_keys(recipe)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_orders_are_in_no_key(name):
    """Of the recipe, of stages, variants and entries of data; of sections, and of what is in them."""
    recipe = read(name)
    backwards = {
        field.name: dict(reversed(value.items()))
        for field in dataclasses.fields(recipe)
        if field.name not in {"inputs", "replace"}
        and isinstance(value := getattr(recipe, field.name), Mapping)
    }
    renamed = replace(
        recipe,
        name="another",
        stages={
            f"{stage}_new": replace(
                use, from_="export" if use.from_ == "export" else f"{use.from_}_new"
            )
            for stage, use in recipe.stages.items()
        },
        verify={
            each if each in {"default", "export"} else f"{each}_new": gates
            for each, gates in recipe.verify.items()
        },
        publish=tuple(each if each == "export" else f"{each}_new" for each in recipe.publish),
    )

    keys = list_keys(recipe)

    assert list_keys(replace(recipe, **backwards)) == keys
    assert list(list_keys(renamed).values()) == list(keys.values())


@pytest.mark.parametrize("name", NAMES)
def test_gates_are_in_no_key(name):
    """They are compared with what was measured, after it: another tolerance runs nothing."""
    recipe = read(name)
    loose = {
        variant: replace(
            recipe.verify_of(variant), scaled=9.0, cosine=-1.0, max_drop=9.0, max_size_ratio=9.0
        )
        for variant in recipe.publish
    }

    assert list_keys(replace(recipe, verify=loose)) == list_keys(recipe)


@pytest.mark.parametrize("name", NAMES)
def test_description_is_in_the_key_of_what_it_is_written_into(name):
    """The exported model's doc string; neither samples nor reference know of it."""
    recipe = replace(read(name), verify={"default": Verify()}, publish=("export",))

    def keys(described: Recipe) -> dict[str, str]:
        steps = make_plan([described]).steps
        return {step.label: make_key(find_ingredients(step, {})) for step in steps}

    before, after = keys(recipe), keys(replace(recipe, description="Another."))

    assert [label for label in before if before[label] != after[label]] == ["export"]


def test_inputs_have_an_order():
    """That of `forward()`: in another, the model gets other values, and the file other inputs."""
    recipe = read("minilm")
    backwards = replace(recipe, inputs=dict(reversed(recipe.inputs.items())))

    before, after = list_keys(recipe), list_keys(backwards)

    assert all(before[variant][0] != after[variant][0] for variant in before)
    labels = [step.label for step in make_plan([recipe, backwards]).steps]
    assert labels.count("export") == labels.count("reference") == labels.count("samples") == 2


SECTIONS = (
    "model",
    "inputs",
    "constants",
    "outputs",
    "feeds",
    "dynamic_axes",
    "dims",
    "export",
    "replace",
    "data",
    "pass_env",
)

WITHOUT = {
    "export.external_data": "how a model is written when it is published",
}
"""Fields that change no result of a step, and why."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give the place, type and value of every field below a section."""
    if dataclasses.is_dataclass(value):
        said = hints(type(value))
        for field in dataclasses.fields(value):
            hint = said[field.name.removesuffix("_")]
            yield from _leaf(hint, getattr(value, field.name), f"{path}.{field.name}")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaf(type(item), item, f"{path}.{name}")


def _leaf(hint: Any, value: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if dataclasses.is_dataclass(value) or (isinstance(value, Mapping) and value):
        yield from leaves(value, path)
    else:
        yield path.removeprefix("."), hint, value


def put(value: Any, place: list[str], leaf: Any) -> Any:
    """Give a section with another value at one place."""
    if not place:
        return leaf
    head, *rest = place
    if isinstance(value, Mapping):
        # Names of inputs have dots of their own.
        end = max(end for end in range(1, len(place) + 1) if ".".join(place[:end]) in value)
        head, rest = ".".join(place[:end]), place[end:]
        return {**value, head: put(value[head], rest, leaf)}
    return replace(value, **{head: put(getattr(value, head), rest, leaf)})


FIELDS = [
    pytest.param(name, place, hint, value, id=f"{name}-{place}")
    for name in NAMES
    for section in SECTIONS
    for place, hint, value in _leaf(None, getattr(read(name), section), section)
    # What no step uses, and what holds nothing to change.
    if not place.startswith("data.other")
    and (place, value) not in [(empty, {}) for empty in ("replace", "constants", "feeds")]
]


@pytest.mark.parametrize(("name", "place", "hint", "value"), FIELDS)
def test_each_field_that_changes_a_result_is_in_a_key(name, place, hint, value):
    """Whatever is said of model, inputs, dimensions, export, replacements and data."""
    recipe = read(name)
    other = (*(value or ()), "other") if place in {"outputs", "pass_env"} else another(hint, value)

    changed = put(recipe, place.split("."), other)

    assert changed != recipe
    assert (list_keys(changed) == list_keys(recipe)) == (place in WITHOUT)
