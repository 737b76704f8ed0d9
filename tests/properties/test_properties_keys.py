"""The action key: whatever can change a result changes it, and nothing else does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxbuild.core.artifact import Artifact
from onnxbuild.core.step import OWN, Output, Resources, Step
from onnxbuild.engine import keys
from onnxbuild.engine.keys import find_ingredients, make_key

EMPTIES = "you are emptying every cache: raise KEY_VERSION, write so in the changelog, and pin anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """All that a key may depend on: a step, what its inputs hold, and the machine that it runs on."""

    run: str
    options: dict[str, Any]
    inputs: dict[str, tuple[str, str]]
    outputs: tuple[str, ...]
    libraries: dict[str, str]
    """The versions of those that the step uses; empty where one is not installed."""
    variables: dict[str, str | None]
    """The values of those that the step gets; None where one is not set."""
    threads: int
    folder: str | None
    machine: str
    """The class of the processor, where the step depends on it."""
    system: tuple[str, str, str]
    label: str = "a"
    resources: Resources = field(default_factory=Resources)

    def key(self) -> str:
        """Make the key of the step, there."""
        step = Step(
            run=self.run, label=self.label, options=self.options, outputs=self.outputs,
            inputs={name: Output(OWN, name) for name in self.inputs}, libraries=tuple(self.libraries),
            threads=self.threads, folder=self.folder, variables=tuple(self.variables),
            machine=bool(self.machine), resources=self.resources,
        )  # fmt: skip
        inputs = {
            name: Artifact(kind=kind, digest=digest, size=1)
            for name, (kind, digest) in self.inputs.items()
        }
        system, architecture, version = self.system
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(keys, "installed", lambda: self.libraries)
            patch.setattr(keys, "cpu_class", lambda: self.machine)
            patch.setattr(keys, "sys", SimpleNamespace(platform=system))
            python = SimpleNamespace(machine=lambda: architecture, python_version=lambda: version)
            patch.setattr(keys, "platform", python)
            for name, value in self.variables.items():
                patch.delenv(name, raising=False)
                if value is not None:
                    patch.setenv(name, value)
            return make_key(find_ingredients(step, inputs))


names = st.text("abcdefgh", min_size=1, max_size=4)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
options = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)
PARTS = {
    "run": st.from_regex(r"tests\.[a-z]{1,3}:[a-z]{1,3}", fullmatch=True),
    "options": options,
    "inputs": st.dictionaries(
        names, st.tuples(st.sampled_from(["model", "arrays", "json"]), names), max_size=3
    ),
    "outputs": st.lists(names, min_size=1, max_size=3, unique=True).map(tuple),
    "libraries": st.dictionaries(names, st.sampled_from(["", "1.0", "1.0.1", "10"]), max_size=3),
    "variables": st.dictionaries(
        names.map("OF_TEST_{}".format), st.none() | st.text("abc", max_size=2), max_size=3
    ),
    "threads": st.integers(1, 9),
    "folder": st.none() | names | st.just(""),
    "machine": st.sampled_from(["", "x86_64 avx2", "x86_64 avx2 avx512_vnni", "aarch64"]),
    "system": st.tuples(
        st.sampled_from(["linux", "darwin"]), names, st.sampled_from(["3.11.7", "3.12.1"])
    ),
}
places = st.builds(Place, **PARTS)


def shown(value: Any) -> str:
    """Write a value such that what a key tells apart differs, and the order of mappings does not."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}={shown(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(shown, value)) + "]"
    return repr(value)


def reordered(value: Any, random: Any) -> Any:
    """Put all mappings in a value into another order."""
    if isinstance(value, dict):
        items = [(key, reordered(item, random)) for key, item in value.items()]
        random.shuffle(items)
        return dict(items)
    return [reordered(item, random) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("part", PARTS)
@given(st.data())
def test_a_change_of_any_part_is_another_key(part, data):
    """Options, inputs, outputs, versions, variables, threads, folder, function, platform; and only a change."""
    place, value = data.draw(places), data.draw(PARTS[part])

    other = replace(place, **{part: value})

    is_same = shown(getattr(place, part)) == shown(value)
    assert (place.key() == other.key()) == is_same


@given(places, st.randoms(), names, st.booleans())
def test_what_changes_no_result_is_in_no_key(place, random, label, flag):
    """Labels, resources, and the order of mappings."""
    other = replace(
        place,
        options=reordered(place.options, random),
        inputs=reordered(place.inputs, random),
        libraries=reordered(place.libraries, random),
        variables=reordered(place.variables, random),
        label=label,
        resources=Resources(exclusive=flag, isolate=not flag, timeout=1.0),
    )

    assert other.key() == place.key()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"inputs": {"a": 1, "b": 2}}, {"inputs": {"b": 2, "a": 1}}, id="inputs"),
        pytest.param(
            {"model": {"kwargs": {"a": {"c": 1, "d": 2}}}},
            {"model": {"kwargs": {"a": {"d": 2, "c": 1}}}},
            id="deep in arguments",
        ),
        pytest.param(
            {"replace": [{"options": {"a": 1, "b": 2}}]},
            {"replace": [{"options": {"b": 2, "a": 1}}]},
            id="in a list",
        ),
    ],
)
def test_an_order_that_a_callable_sees_counts(one, other):
    """Inputs have the order of `forward()`; a user's function may iterate over what it is called with."""

    def key(options):
        return make_key(find_ingredients(Step(run="tests:f", label="", options=options), {}))

    assert key(one) != key(other)


def test_an_order_inside_an_input_is_nobodys_business():
    """Only that of the inputs themselves."""
    one, other = {"shape": [1], "dtype": "x"}, {"dtype": "x", "shape": [1]}

    ingredients = [
        find_ingredients(Step(run="tests:f", label="", options={"inputs": {"a": item}}), {})
        for item in (one, other)
    ]

    assert make_key(ingredients[0]) == make_key(ingredients[1])


@pytest.mark.parametrize(
    ("ingredients", "pinned"),
    [
        ({}, "b3:d5b42e6aa2eadffd2a56aab6d60840d2083e1b9d0d0ac00b05a2523bc3b0dbbf"),
        ({"version": 1, "options": {"a": True, "b": 1, "c": 1.0, "d": "1", "e": None}}, "b3:22aef97677291d4f2ca5ce97beebd0d474719bc5b1b6be6afee238e1e7b4e992"),
        ({"options": {"b": [1, [2, -0.0]], "a": {"ü": "\n"}}, "inputs": {"x": ["model", "b3:1"]}}, "b3:a2264c342be1770d38875878a6967bf8c3f65b2e2e9b7c2342f4c57e959d915f"),
        ({"outputs": ["a", "b"], "folder": None, "threads": 1, "platform": ["linux", "x86_64", "3.11.7"]}, "b3:375875a19729ab0e8a1348464e192a33ede525b9cc17e642e91da2c83d8dc7da"),
    ],
    ids=["nothing", "scalars", "nested", "place"],
)  # fmt: skip
def test_keys_are_pinned(ingredients, pinned):
    """What a mapping of ingredients digests to outlives releases."""
    assert make_key(ingredients) == pinned, EMPTIES


def test_the_key_of_a_step_is_pinned():
    """With all its parts: a part more or less, or in another form, is another key."""
    place = Place(
        run="package.module:function",
        options={"a": [1, 2.5, "x", None, True], "inputs": {"second": 1, "first": 2}},
        inputs={"model": ("model", "b3:" + "0" * 64)},
        outputs=("model", "notes"),
        libraries={"numpy": "2.0.0", "torch": ""},
        variables={"OF_TEST_SET": "x", "OF_TEST_UNSET": None},
        threads=2,
        folder="recipes",
        machine="x86_64 avx2",
        system=("linux", "x86_64", "3.11.7"),
    )

    assert place.key() == WHOLE, EMPTIES


WHOLE = "b3:c65535016be80594604227351c2a29b1322861d4aa0dcc3c77b10b1cb912a9e3"
