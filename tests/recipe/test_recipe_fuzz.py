"""No recipe, however wrong, makes the checks fail otherwise than by naming its mistakes."""

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from onnxbuild import registry
from onnxbuild.compose.composing import compose_anew
from onnxbuild.errors import RecipeError
from onnxbuild.recipe.describe import fields_of
from onnxbuild.recipe.schema import Export, Input, Model, Recipe, Verify

KEYS = sorted({key for cls in (Recipe, Model, Input, Export, Verify) for key in fields_of(cls)})
WORDS = st.sampled_from(
    [*KEYS, "0", "x", "use", "from", "with", "module", "rule", "a b", "-1", "${x}", "f.py:g", "???"]
)
SCALARS = st.one_of(
    WORDS,
    st.integers(-2, 30),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.text(max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)


def is_composed_or_refused(text, overrides=()):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.yaml"
        path.write_text(text)
        try:
            compose_anew(str(path), list(overrides), root=folder, shown_as="r.yaml")
        except RecipeError as error:
            return bool(error.mistakes) and bool(str(error))
        return True


@settings(max_examples=300, deadline=None)
@example({"export": {"exporter": [], "strict": "at_least"}})
@given(st.dictionaries(st.sampled_from(sorted(fields_of(Recipe))), VALUES, max_size=5))
def test_any_values_under_any_keys(data):
    """Wrong types in every place."""
    import json

    assert is_composed_or_refused(json.dumps(data))


@settings(max_examples=150, deadline=None)
@given(WORDS, WORDS, WORDS, st.sampled_from(registry.names("stages")), VALUES)
def test_any_options_of_stages(name, other, option, use, value):
    """Wrong options of every stage."""
    import json

    stages = {name: {"use": use, "from": other, option: value}, other: value}

    assert is_composed_or_refused(json.dumps({"model": {"entry": "f.py:g"}, "stages": stages}))


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(max_size=12),
        st.builds(
            "{}{}.{}={}".format,
            st.sampled_from(["", "+", "++", "~"]),
            WORDS,
            WORDS,
            st.text(max_size=6),
        ),
    )
)
def test_any_override(override):
    """Whatever stands on the command line."""
    assert is_composed_or_refused("model: {onnx: r.yaml}\n", [override])
