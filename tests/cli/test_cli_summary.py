"""What a build gives back, as people and scripts read it."""

from onnxbuild.cli.summary import summarize
from onnxbuild.report.result import BuildResult, RecipeResult, VariantResult

CURVE = (
    {"left_out": 0, "bytes": 2000, "cosine": 0.5, "scaled": 1.0, "where": "y", "seconds": 0.001, "met": False},
    {"left_out": 1, "bytes": 3000, "cosine": 1.0, "scaled": 0.0, "where": "", "seconds": 0.002, "met": True},
)  # fmt: skip


def build(**said):
    variant = VariantResult(
        recipe="r", variant="int8", path="artifacts/r/int8/model.onnx", published=True, **said
    )
    recipe = RecipeResult(name="r", variants={"int8": variant})
    return BuildResult(status="ok", recipes={"r": recipe}, steps=())


def test_the_curve_of_a_search_is_in_the_summary_and_in_the_data():
    """One line for people, each attempt for scripts; nothing where nothing was searched."""
    searched, plain = build(curve=CURVE), build()

    assert "int8 searched: 0 left out: 2.0 kB, cosine 0.5000" in summarize(searched)
    assert searched.to_json()["recipes"][0]["published"][0]["curve"] == [*CURVE]
    assert "searched" not in summarize(plain)
    assert "curve" not in plain.to_json()["recipes"][0]["published"][0]
