"""The promises of `onnxbuild.report.judge`."""

import pytest

from onnxbuild.recipe.schema import Tolerance, Verify
from onnxbuild.report.judge import fidelity_summary, judge, tolerances


def errors(**changes):
    return {
        "samples": 2,
        "elements": 10,
        "finite": True,
        "reference_finite": True,
        "largest": 2.0,
        "max_abs": 0.0002,
        "max_rel": 0.0002,
        "scaled": 0.0001,
        "cosine": 0.99999,
        "hull": [[0.5, 0.0001], [2.0, 0.0002]],
    } | changes


BROKEN = errors(scaled=2.0, cosine=-1.0, max_abs=4.0, hull=[[2.0, 4.0]])


def make_fidelity(*shapes, **more):
    """Errors of output y at some shapes: name -> what differs from a good one."""
    told = [{"name": name, "outputs": {"y": errors(**changes)}} for name, changes in shapes]
    return {
        "model": {"nodes": 1},
        "shapes": told,
        "outputs": {"y": {}},
        "constant": [],
        "perturbed": {"tried": [{"weight": "w", "outputs": {"y": BROKEN}}]},
        "half": None,
    } | more


def findings_of(fidelity=None, precision="fp32", verify=None, **others):
    given = {
        "variant": "v",
        "metric": None,
        "reference_metric": None,
        "size": 100,
        "export_size": 100,
        "latency": {"speedup": 1.0},
        "export": {},
    } | others
    return judge(
        precision=precision,
        verify=verify or Verify(),
        fidelity=fidelity or make_fidelity(("example", {})),
        **given,
    )


def missed(*args, level="gate", **others):
    return [
        item.describe()
        for item in findings_of(*args, **others)
        if not item.passed and item.level == level
    ]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_no_precision_is_judged_by_its_cosine_alone(precision):
    """A model ten times too small has a cosine of 1."""
    small = make_fidelity(("example", {"scaled": 0.9, "cosine": 1.0}))
    turned = make_fidelity(("example", {"scaled": 0.0001, "cosine": 0.5}))

    assert tolerances(precision).scaled is not None
    assert tolerances(precision).cosine is not None
    assert "scaled error of `y` at example is 0.9" in missed(small, precision)[0]
    assert "cosine of `y` at example is 0.5" in missed(turned, precision)[0]
    assert "scaled" in missed(small, precision, verify=Verify(cosine=0.9))[0]
    assert missed(make_fidelity(("example", {})), precision) == []


def test_the_worst_shape_is_named():
    """Wherever it is."""
    fidelity = make_fidelity(
        ("example", {}), ("most", {"scaled": 0.2}), ("batch=1", {"scaled": 0.1})
    )

    fidelity["shapes"][1]["sizes"] = {"batch": 4, "height": 9}

    (line,) = missed(fidelity)

    place = "`y` at most (batch=4, height=9)"
    assert line == f"scaled error of {place} is 0.2, asked: at most 0.001"


@pytest.mark.parametrize(
    ("verify", "passes"),
    [
        (Verify(scaled=0.2), True),
        (Verify(scaled=0.09), False),
        (Verify(scaled=0.2, cosine=0.99), False),
        (Verify(rtol=0.1, atol=0.05), True),
        (Verify(rtol=0.1, atol=0.001), False),
        (Verify(atol=0.2), True),
        (Verify(rtol=0.2), True),
        (Verify(scaled=0.01, outputs={"y": Tolerance(scaled=0.2)}), True),
        (Verify(scaled=0.2, outputs={"y": Tolerance(scaled=0.01)}), False),
        (Verify(scaled=0.01, outputs={"z": Tolerance(scaled=0.2)}), False),
    ],
)
def test_what_the_recipe_gives_replaces_the_defaults(verify, passes):
    """For all outputs, or for one."""
    hull = [[0.5, 0.09], [2.0, 0.2]]
    fidelity = make_fidelity(
        ("example", {"scaled": 0.1, "cosine": 0.98, "max_abs": 0.2, "hull": hull})
    )

    assert (missed(fidelity, verify=verify) == []) is passes


def test_a_missed_allclose_names_the_worst_element():
    """Its error and the size of PyTorch's value."""
    fidelity = make_fidelity(("example", {}), ("most", {"hull": [[0.5, 0.09], [2.0, 0.2]]}))

    (line,) = missed(fidelity, verify=Verify(rtol=0.01, atol=0.1))

    assert line == (
        "absolute error of `y` at most is 0.2 where PyTorch's value is 2 in size, "
        "asked: at most 0.1 + 0.01 x |PyTorch's value|"
    )


def test_numbers_that_are_none_are_a_missed_gate_with_the_first_bad_node():
    """Whatever the tolerance."""
    bad = {"finite": False, "scaled": None, "cosine": None, "max_abs": None, "max_rel": None}
    node = {"node": "log", "operator": "Log", "result": "l"}
    fidelity = make_fidelity(("example", bad), bad_node=node)

    (finding,) = [
        item for item in findings_of(fidelity, verify=Verify(scaled=1)) if not item.passed
    ]

    assert (
        finding.describe() == "output of `y` at example is NaN or infinite, asked: finite numbers"
    )
    assert "'log' (Log)" in finding.hint


def test_another_shape_is_a_missed_gate():
    """In the comparison's words."""
    fidelity = make_fidelity(("batch=1", {"problem": "its shape is [1], PyTorch's is [2]"}))

    assert "its shape is [1], PyTorch's is [2]" in missed(fidelity)[0]


@pytest.mark.parametrize(
    ("precision", "share", "passes"),
    [("fp32", 0.0, True), ("fp32", 0.001, False), ("fp16", 0.01, True), ("int8", 0.2, False)],
)
def test_whole_numbers_are_judged_by_the_share_that_differs(precision, share, passes):
    """Classes flip where two scores are close; not in single precision."""
    broken = {"tried": [{"weight": "w", "outputs": {"y": errors(mismatched=0.9)}}]}
    fidelity = make_fidelity(("example", {"mismatched": share, "scaled": 5.0}), perturbed=broken)

    assert (missed(fidelity, precision) == []) is passes


def test_a_comparison_that_cannot_fail_is_a_missed_gate():
    """A broken weight passed."""
    passes = {"weight": "fc.weight", "outputs": {"y": errors()}}
    fidelity = make_fidelity(("example", {}), perturbed={"tried": [passes]})
    nothing = make_fidelity(("example", {}), perturbed={"none": "no weights"})

    (line,) = missed(fidelity)

    assert "passed, with each of fc.weight" in line
    assert missed(nothing) == []
    assert "broken on purpose" in missed(verify=Verify(scaled=5.0))[0]


@pytest.mark.parametrize(
    ("precision", "own", "spoiled", "passes"),
    [
        ("int8", 0.03, 0.17, True),
        ("int8", 0.06, 0.17, False),
        ("fp32", 1e-7, 0.0009, True),
        ("fp32", 1e-7, 9e-6, False),
    ],
)
def test_a_default_with_room_for_a_broken_weight_is_made_closer(precision, own, spoiled, passes):
    """To a third of what the weight spoils: the model meets that too, or the comparison proves nothing."""
    spoils = {"weight": "w", "outputs": {"y": errors(scaled=spoiled)}}
    fidelity = make_fidelity(("example", {"scaled": own}), perturbed={"tried": [spoils]})

    (found,) = [
        item for item in findings_of(fidelity, precision) if "broken on purpose" in item.describe()
    ]

    held = f"missed with w, `y` held to a scaled error of {spoiled / 3:.4g}"
    assert (found.passed, found.level) == (passes, "gate")
    assert (found.measured == held) == passes


def test_what_a_recipe_asks_for_must_be_able_to_fail():
    """Its own tolerance with room for a broken weight stays a missed gate."""
    spoils = {"weight": "w", "outputs": {"y": errors(scaled=0.17, cosine=0.99)}}
    fidelity = make_fidelity(("example", {"scaled": 0.03}), perturbed={"tried": [spoils]})

    lines = missed(fidelity, "int8", verify=Verify(scaled=0.3))

    assert any("broken on purpose" in line for line in lines)


def test_an_output_that_never_changes_is_a_warning():
    """It may be meant."""
    (line,) = missed(make_fidelity(("example", {}), constant=["y"]), level="warning")

    assert line.startswith("output of `y` is the same for every sample")


def test_a_metric_that_pytorch_alone_has_is_missed():
    """A class that a variant never gives has no value of its own, and must not drop out of the gate."""
    metric, reference = {"cats": 0.9}, {"cats": 0.9, "dogs": 0.8}

    lines = missed(verify=Verify(max_drop=0.01), metric=metric, reference_metric=reference)

    assert lines == ["dogs is missing, asked: a value, as of PyTorch's outputs"]


def test_an_overflow_in_half_is_a_gate_unless_true_half_did_well():
    """What is cut off again later does no harm."""
    node = {"node": "n", "operator": "Mul", "result": "m"}
    unknown = make_fidelity(("example", {}), half={"overflow": node, "skipped": "too large"})
    harmless = make_fidelity(("example", {}), half={"overflow": node, "true_half": {"y": errors()}})
    wrong = errors(scaled=0.9, cosine=0.2)
    harmful = make_fidelity(("example", {}), half={"overflow": node, "true_half": {"y": wrong}})

    assert "result of node 'n' (Mul) at example is larger" in missed(unknown, "fp16")[0]
    assert missed(harmless, "fp16") == []
    assert len(missed(harmless, "fp16", level="warning")) == 1
    assert any(
        "in true half precision the scaled error" in line for line in missed(harmful, "fp16")
    )


def test_numbers_that_pytorch_has_not_are_a_warning():
    """Where it gives NaN and the variant a number, they are not compared."""
    (line,) = missed(make_fidelity(("example", {"reference_finite": False})), level="warning")

    assert line.startswith("PyTorch's output of `y` at example is NaN or infinite in part")


def test_half_precision_that_was_not_tried_is_a_warning():
    """The CPU's numbers alone say little of it."""
    (line,) = missed(
        make_fidelity(("example", {}), half={"skipped": "a reason"}), "fp16", level="warning"
    )

    assert "half precision at example is not known: a reason" in line


@pytest.mark.parametrize(
    ("verify", "value", "passes"),
    [
        (Verify(at_least=0.9), 0.9, True),
        (Verify(at_least=0.9), 0.89, False),
        (Verify(max_drop=0.01), 0.92, True),
        (Verify(max_drop=0.01), 0.91, False),
        (Verify(max_drop=0.01), 0.99, True),
        (Verify(at_least=0.9, goal="min"), 0.89, True),
        (Verify(at_least=0.9, goal="min"), 0.91, False),
        (Verify(max_drop=0.01, goal="min"), 0.94, True),
        (Verify(max_drop=0.01, goal="min"), 0.95, False),
        (Verify(), 0.0, True),
    ],
)
def test_a_metric_is_judged_by_its_goal(verify, value, passes):
    """Against PyTorch's 0.93; decimal fractions do not fail by their last bit."""
    lines = missed(verify=verify, metric={"accuracy": value}, reference_metric={"accuracy": 0.93})

    assert (lines == []) is passes


def test_a_metric_that_is_asked_and_missing_is_a_missed_gate():
    """Nothing passes by not being measured."""
    assert missed(verify=Verify(at_least=0.9)) == ["metric is missing, asked: a value"]
    assert "not known" in missed(
        verify=Verify(max_drop=1), metric={"f1": 1.0}, reference_metric={"f2": 1.0}
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("verify", "others", "gates", "warnings"),
    [
        (Verify(), {"size": 150}, 0, 1),
        (Verify(), {"size": 150, "variant": "export"}, 0, 0),
        (Verify(), {"size": 101}, 0, 0),
        (Verify(max_size_ratio=0.4), {"size": 39}, 0, 0),
        (Verify(max_size_ratio=0.4), {"size": 41}, 1, 0),
        (Verify(), {"latency": {"speedup": 0.5}}, 0, 1),
        (Verify(), {"latency": {"speedup": None}}, 0, 0),
        (Verify(min_speedup=1.2), {"latency": {"speedup": 1.1}}, 1, 0),
        (Verify(min_speedup=1.2), {"latency": {"speedup": 1.3}}, 0, 0),
        (Verify(min_speedup=1.2), {"latency": {"speedup": None}}, 1, 0),
    ],
)
def test_size_and_speed_are_gates_where_asked_and_warnings_where_not(
    verify, others, gates, warnings
):
    """Against the exported model."""
    assert len(missed(verify=verify, **others)) == gates
    assert len(missed(verify=verify, level="warning", **others)) == warnings


def test_the_summary_is_the_worst_of_all():
    """Of floating outputs where there are any; nothing where something could not be compared."""
    outputs = {
        "a": errors(max_abs=0.1, cosine=0.9),
        "b": errors(scaled=0.5),
        "ids": errors(max_abs=7, mismatched=0.1),
    }

    summary = fidelity_summary({"outputs": outputs})

    assert summary == {"max_abs": 0.1, "max_rel": 0.0002, "scaled": 0.5, "cosine": 0.9}
    assert fidelity_summary({"outputs": {"ids": outputs["ids"]}})["max_abs"] == 7
    assert fidelity_summary({"outputs": {"a": errors(cosine=None)}})["cosine"] is None
    assert fidelity_summary({"weightless": ["w"]})["scaled"] is None


def test_a_graph_without_its_weights_is_not_judged():
    """There is nothing to compare, and that is said; the export was compared while it had them."""
    fidelity = {"model": {"nodes": 1}, "weightless": ["w"]}

    findings = findings_of(fidelity, variant="export")
    told = missed(fidelity, variant="slim", level="warning")

    assert [item.passed for item in findings] == [True]
    assert told == ["comparison is not possible: the recipe keeps the weights out of the file"]
    assert "keeps the weights out" in findings[0].measured


@pytest.mark.parametrize(
    ("perturbed", "told"),
    [
        ({"none": "the model has no weights that could be broken"}, "no weights"),
        ({"tried": [{"weight": "w", "failed": "it does not load"}]}, "w: it does not load"),
    ],
)
def test_comparison_that_was_not_proven_is_reported(perturbed, told):
    """Where no weight could be broken, nobody is left to believe that one was."""
    (line,) = missed(make_fidelity(("example", {}), perturbed=perturbed), level="warning")

    assert "not possible" in line
    assert told in line


LEVELS = ("gate", "warning")
LOST = {
    "axis": 1,
    "size": 3,
    "values": 8,
    "unjudged": 0,
    "channel": 2,
    "error": 1.0,
    "largest": 2e-6,
}


@pytest.mark.parametrize(
    ("precision", "verify", "level"),
    [
        pytest.param("fp32", Verify(), "gate", id="fp32 has the same numbers"),
        pytest.param("fp16", Verify(), "warning", id="fp16 may cost it"),
        pytest.param("int8", Verify(), "warning", id="int8 may cost it"),
        pytest.param("fp32", Verify(scaled=0.01), "warning", id="the recipe gives its own"),
        pytest.param("fp32", Verify(cosine=0.99), "warning", id="a cosine"),
        pytest.param("fp16", Verify(scaled_per_channel=0.05), "gate", id="asked"),
        pytest.param("int8", Verify(scaled_per_channel=2.0), None, id="allowed"),
        pytest.param(
            "int8",
            Verify(scaled=0.5, scaled_per_channel=0.5, outputs={"y": Tolerance(scaled=0.1)}),
            "gate",
            id="asked for all, beside another tolerance of this one",
        ),
        pytest.param(
            "int8",
            Verify(scaled_per_channel=0.5, outputs={"y": Tolerance(scaled_per_channel=2)}),
            None,
            id="allowed for this one",
        ),
    ],
)
def test_a_lost_channel_is_named(precision, verify, level):
    """As a gate where the numbers should be the same or the recipe asks for it; else as a warning."""
    output = {"largest": 2.0, "channels": [LOST]}
    fidelity = make_fidelity(("example", {}), outputs={"y": output})

    found = {name: missed(fidelity, precision, verify=verify, level=name) for name in LEVELS}

    assert [name for name, lines in found.items() if lines] == ([level] if level else [])
    if level:
        assert "channel 2 (axis 1) of `y` is 1 of its largest value, 2e-06" in found[level][0]


@pytest.mark.parametrize(
    ("verify", "level"),
    [
        pytest.param(Verify(), None, id="by default"),
        pytest.param(Verify(scaled_per_channel=0.1), "warning", id="of all outputs"),
        pytest.param(
            Verify(outputs={"y": Tolerance(scaled_per_channel=0.1)}), "gate", id="of this one"
        ),
    ],
)
def test_channels_that_cannot_be_judged_are_said_where_asked_for(verify, level):
    """A gate that nothing is held to is not passed."""
    fidelity = make_fidelity(("example", {}), outputs={"y": {"channels": []}})

    found = {one: missed(fidelity, verify=verify, level=one) for one in ("gate", "warning")}

    assert {one for one in found if found[one]} == ({level} if level else set())
    if level:
        assert "each channel of `y` is not known" in found[level][0]


def test_a_channel_alone_leaves_the_other_defaults():
    """It comes to them."""
    fidelity = make_fidelity(("example", {"scaled": 0.9}))

    assert "scaled error of `y`" in missed(fidelity, verify=Verify(scaled_per_channel=0.5))[0]


@pytest.mark.parametrize(("precision", "values"), [("fp32", 1), ("fp16", 3), ("int8", 7)])
def test_a_channel_of_few_values_is_judged_only_where_asked(precision, values):
    """All of a few may be near zero by chance."""
    output = {"largest": 2.0, "channels": [LOST | {"values": values}]}
    fidelity = make_fidelity(("example", {}), outputs={"y": output})

    lines = [line for level in LEVELS for line in missed(fidelity, precision, level=level)]

    assert lines == []
    assert missed(fidelity, precision, verify=Verify(scaled_per_channel=0.5)) != []


def test_what_a_trace_fixed_is_said_each_time():
    """It was asked for, so the variant is published; who reads the table knows what it holds for."""
    told = missed(export={"decisions": ["net.py:3 in forward: if x.any()"]}, level="warning")

    assert told == [
        "what the inputs' values decide at net.py:3 in forward: if x.any() is fixed as the example has it"
    ]
    assert not missed(export={"decisions": ["net.py:3 in forward: if x.any()"]})


def test_a_tolerance_of_an_output_leaves_the_variants_other_ones():
    """All that is asked must hold: looser in one number for one output is not looser in the others."""
    close = {"scaled": 0.0149, "cosine": 0.95}
    fidelity = make_fidelity(("example", close))
    looser = Verify(scaled=1e-6, outputs={"y": Tolerance(cosine=0.9)})
    allowed = Verify(scaled=1e-6, outputs={"y": Tolerance(scaled=0.1, cosine=0.9)})

    assert "scaled error of `y` at example is 0.0149" in missed(fidelity, "int8", verify=looser)[0]
    assert not missed(fidelity, "int8", verify=allowed)


def test_a_tolerance_of_an_output_that_is_not_there_is_a_missed_gate():
    """A misspelt name would switch off what was asked."""
    told = missed(verify=Verify(outputs={"why": Tolerance(scaled=1e-9)}))

    assert told == [
        "the output 'why', for which `verify` gives a tolerance, is none of the model's, asked: one of y"
    ]


@pytest.mark.parametrize(
    ("verify", "others", "gates", "warnings"),
    [
        (Verify(), {"source_size": 101}, 0, 0),
        (Verify(), {"source_size": 90}, 0, 1),
        (Verify(), {"source_size": None}, 0, 0),
        (Verify(), {"source_size": 200, "latency": {"speedup_over_source": 0.5}}, 0, 1),
        (Verify(), {"source_size": None, "latency": {"speedup_over_source": 0.5}}, 0, 0),
        (Verify(max_size_ratio_to_source=0.3), {"source_size": 200}, 1, 0),
        (Verify(max_size_ratio_to_source=0.6), {"source_size": 200}, 0, 0),
        (Verify(max_size_ratio_to_source=0.6), {"source_size": None}, 1, 0),
        (Verify(min_speedup_over_source=1.2), {"latency": {"speedup_over_source": 1.1}}, 1, 0),
        (Verify(min_speedup_over_source=1.2), {"latency": {}}, 1, 0),
    ],
)
def test_a_variant_is_held_against_what_it_comes_from(verify, others, gates, warnings):
    """A gate where that is asked, else a warning; nothing is said twice of what comes from the export."""
    assert len(missed(verify=verify, **others)) == gates
    assert len(missed(verify=verify, level="warning", **others)) == warnings


def test_what_is_slower_and_larger_than_both_is_said_once():
    """One warning for the speed and one for the size, with both figures; another that is asked stays a gate."""
    speeds = {"speedup": 0.5, "speedup_over_source": 0.25}
    told = missed(level="warning", size=300, source_size=150, latency=speeds)

    assert len(told) == 2
    assert all(" exported model's" in line and " it comes from" in line for line in told)
    assert "0.25" in told[1]
    assert "0.5" in told[1]
    gated = Verify(min_speedup=1.0)
    assert len(missed(verify=gated, size=100, source_size=100, latency=speeds)) == 1
    assert len(missed(verify=gated, level="warning", source_size=100, latency=speeds)) == 1


@pytest.mark.parametrize(
    ("variant", "changes", "passes"),
    [
        pytest.param("v", {"outputs": {"y": {"reference_dtype": "bfloat16"}}}, True, id="outputs"),
        pytest.param("export", {"model": {"nodes": 1, "half": "bfloat16"}}, True, id="inside"),
        pytest.param(
            "v", {"model": {"nodes": 1, "half": "bfloat16"}}, False, id="made so by a stage"
        ),
        pytest.param("v", {"outputs": {"y": {"reference_dtype": "float16"}}}, False, id="finer"),
        pytest.param("v", {}, False, id="float32"),
    ],
)
def test_a_model_that_is_half_in_pytorch_is_judged_as_such(variant, changes, passes):
    """Its numbers have no more digits, whatever its stages leave as they are."""
    fidelity = make_fidelity(("example", {"scaled": 0.05, "cosine": 0.998}), **changes)

    assert (missed(fidelity, variant=variant) == []) == passes
