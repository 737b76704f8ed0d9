"""How plans are written: tables, layers, drawings, causes."""

from __future__ import annotations

import argparse

import pytest

from onnxbuild.cli import explain, graph, plan
from onnxbuild.cli.console import table
from onnxbuild.cli.steps import take_step
from onnxbuild.cli.wrapping import break_columns
from onnxbuild.core.step import Output, Step
from onnxbuild.core.trace import Trace
from onnxbuild.engine.preview import Prospect
from onnxbuild.errors import UsageError
from onnxbuild.planner import Plan, find_label
from onnxbuild.report.view import PlanView


def make_view() -> PlanView:
    """Three steps: one cached, one to run, one that waits for it."""
    samples = Step(run="m:samples", label="samples", outputs=("samples", "shapes"))
    export = Step(
        run="m:export",
        label='export "a" <b>',
        inputs={"samples": Output(samples, "samples"), "shapes": Output(samples, "shapes")},
    )
    slim = Step(run="m:slim", label="slim", inputs={"model": Output(export)}, may_grow=True)
    trace = Trace(
        key="b3:1",
        ingredients={},
        observations=(("file", "./a.py", "b3:2"), ("absent", "./b.py", "")),
        results={},
        seconds=1.25,
        made=1_700_000_000.0,
        build="cafe",
    )
    return PlanView(
        plan=Plan(
            steps=(samples, export, slim),
            variants=(),
            owners={id(step): ("tiny",) for step in (samples, export, slim)},
        ),
        prospects=(
            Prospect(step=samples, status="cached", key="b3:1", trace=trace),
            Prospect(
                step=export, status="run", causes=("a.py changed", "opset: 17 → 18"), key="b3:3"
            ),
            Prospect(step=slim, status="may run", causes=("if export gives another result",)),
        ),
        facts=(),
    )


def test_plan_is_a_table_with_states_and_causes() -> None:
    """Each step stands with what would become of it and why; the last line counts."""
    assert plan.render(make_view()).splitlines() == [
        "  step             state      why",
        "  samples          cached",
        '  export "a" <b>   would run  a.py changed; opset: 17 → 18',
        "  slim (may grow)  may run    if export gives another result",
        "",
        "3 steps: 1 cached, 1 to run, 1 may run",
    ]


def test_asking_for_a_rerun_changes_what_follows() -> None:
    """A step that is asked to run again runs, and cached steps behind it may run."""
    view = make_view()
    cached = PlanView(
        plan=view.plan,
        prospects=tuple(Prospect(step=item.step, status="cached") for item in view.prospects),
        facts=(),
    )

    forced = plan.force(cached, ["export"])

    assert [item.status for item in forced.prospects] == ["cached", "run", "may run"]
    assert forced.prospects[1].causes == ("asked to run again",)
    assert {item.status for item in plan.force(cached, [], all_run=True).prospects} == {"run"}


def test_graph_as_text_has_layers() -> None:
    """A step stands below all that it needs."""
    assert graph.find_layers(make_view()) == [1, 2, 3]
    assert [line.split()[0] for line in graph.draw_text(make_view()).splitlines()[1:4]] == [
        "1",
        "2",
        "3",
    ]


def test_drawings_escape_names() -> None:
    """Names with quotes and angle brackets do not break a drawing, and each pair of steps has one edge."""
    mermaid, dot = graph.draw_mermaid(make_view()), graph.draw_dot(make_view())

    assert 's1["export #quot;a#quot; #lt;b#gt;"]:::run' in mermaid
    assert 's0 -->|"samples, shapes"| s1' in mermaid
    assert 's1 [label="export \\"a\\" <b>"' in dot
    assert dot.count("->") == 2


def test_explanation_has_one_cause_a_line() -> None:
    """All causes of a step are there; a cached one says when, by whom and how long it was made."""
    lines = explain.render(make_view()).splitlines()

    assert lines[0] == "samples: cached"
    assert "by build cafe in 1.25 s" in lines[1]
    assert lines[2] == "    read a.py, unchanged since"
    assert lines[3:6] == ['export "a" <b>: would run', "    a.py changed", "    opset: 17 → 18"]


def test_explanation_of_one_step() -> None:
    """Only the step that was named is explained."""
    assert explain.render(make_view(), "slim").splitlines() == [
        "slim: may run",
        "    if export gives another result",
    ]


@pytest.mark.parametrize(
    ("word", "label"),
    [
        pytest.param("int8: quantize", "int8: quantize", id="whole"),
        pytest.param("int8", "int8", id="whole before part"),
        pytest.param("fp16", "fp16: float16", id="stage before part"),
        pytest.param("OBSERVE", "int8: observe", id="part in any case"),
    ],
)
def test_steps_are_found_by_name_or_part(word: str, label: str) -> None:
    """The whole name, its stage's, or a part that only one step has, names it."""
    labels = ["export", "int8", "int8: observe", "int8: quantize", "fp16: float16", "verify fp16"]

    assert find_label(word, labels) == label


def test_a_part_of_several_names_is_refused() -> None:
    """What several steps have in their names names none; they are listed."""
    with pytest.raises(UsageError) as caught:
        find_label("int8:", ["int8: observe", "int8: quantize"])

    assert "'int8: observe', 'int8: quantize'" in caught.value.hint


def test_an_unknown_step_names_the_nearest() -> None:
    """A typo is answered with the step that was meant."""
    with pytest.raises(UsageError) as caught:
        find_label("exprot", ["samples", "export"])

    assert caught.value.hint == "did you mean 'export'?"


def test_step_recipes_and_overrides_are_told_apart() -> None:
    """In any order: a recipe ends in .yaml, an override has an equals sign, the other word is the step."""
    words = ["export", "r.yaml", "env=ci", "~data"]

    assert take_step(words) == (["r.yaml", "env=ci", "~data"], "export")
    assert take_step(["r.yaml"]) == (["r.yaml"], None)
    with pytest.raises(UsageError, match="one step at a time"):
        take_step(["a", "b", "r.yaml"])


def test_two_ways_to_name_a_step_are_one_too_many() -> None:
    """A step by position and another by ``--step`` is an error."""
    options = argparse.Namespace(words=["export", "r.yaml"], step="slim", only=[], json=False)

    with pytest.raises(UsageError, match="two steps were named"):
        explain.main(options)


def test_long_causes_are_broken_into_lines() -> None:
    """A long cause goes on in the next line, below itself, and no word is lost."""
    header = ["step", "why"]
    why = "it read " + ", ".join(f"file{number}.py" for number in range(20))

    rows = break_columns(header, [["export", why], ["slim", ""]], (1,))

    assert " ".join(row[1] for row in rows if row[0] != "slim") == why
    assert [row[0] for row in rows] == ["export", *[""] * (len(rows) - 2), "slim"]
    assert max(map(len, table(header, rows).splitlines())) <= 80


@pytest.mark.parametrize("word", ["--locked", "--check-reproducible"])
def test_what_only_a_build_finds_out_has_no_dry_run(onnxbuild, project, word):
    """Refused in words, rather than left out in silence."""
    done = onnxbuild("run", "tiny.yaml", "-n", word)

    assert done.returncode == 2
    assert f"{word} compares what is built, and --dry-run builds nothing" in done.stderr
