"""Draw the plan of recipes as text, Mermaid or DOT. Runs no user code.

Text lists the steps in layers: what stands in one layer needs only layers above it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from onnxbuild import api
from onnxbuild.cli import console, fast
from onnxbuild.cli.arguments import add_only, add_recipes, split
from onnxbuild.cli.plan import STATES
from onnxbuild.cli.steps import count, name_steps
from onnxbuild.cli.wrapping import break_columns
from onnxbuild.report.view import PlanView
from onnxbuild.workplace import open_workplace


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the arguments of ``graph``."""
    add_recipes(parser)
    parser.add_argument(
        "--format", choices=sorted(FORMATS), default="text", help="text if left out"
    )
    add_only(parser)


def main(options: argparse.Namespace) -> int:
    """Look at the plan and draw it."""
    recipes, overrides = split(options.words)
    with open_workplace(
        recipes, overrides, only=options.only, multirun=options.multirun, look=True
    ) as workplace:
        view = api.view(workplace)
        text = FORMATS[options.format](view)
        console.data(text)
        # Where something would run, running it changes the answer, and no file would tell.
        if all(item.status == "cached" for item in view.prospects):
            fast.remember(workplace, view.facts, text)
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Something of one step that another needs, both by number."""

    source: int
    target: int
    names: tuple[str, ...]
    """The outputs of the source that travel along it."""


def find_edges(view: PlanView) -> list[Edge]:
    """List what goes from step to step, one edge for each pair."""
    number = {id(item.step): index for index, item in enumerate(view.prospects)}
    found: dict[tuple[int, int], dict[str, None]] = {}
    for target, item in enumerate(view.prospects):
        for output in item.step.inputs.values():
            if id(output.step) in number:
                found.setdefault((number[id(output.step)], target), {})[output.name] = None
    return [
        Edge(source=source, target=target, names=tuple(names))
        for (source, target), names in found.items()
    ]


def find_layers(view: PlanView) -> list[int]:
    """Give the layer of each step: one more than the deepest that it needs; those that need nothing are 1."""
    layers = [1] * len(view.prospects)
    sources: dict[int, list[int]] = {}
    for edge in find_edges(view):
        sources.setdefault(edge.target, []).append(edge.source)
    # Producers stand before their consumers in a plan.
    for target in range(len(layers)):
        layers[target] += max((layers[source] for source in sources.get(target, ())), default=0)
    return layers


def draw_text(view: PlanView) -> str:
    """Write the steps in layers, each with its state and what it needs."""
    names = name_steps(view)
    layers = find_layers(view)
    needs: dict[int, list[str]] = {}
    for edge in find_edges(view):
        needs.setdefault(edge.target, []).append(names[edge.source])
    rows = []
    before = 0
    for number in sorted(range(len(names)), key=lambda index: layers[index]):
        layer = layers[number]
        item = view.prospects[number]
        name = f"{names[number]} (may grow)" if item.step.may_grow else names[number]
        rows.append(
            [
                str(layer) if layer != before else "",
                name,
                STATES[item.status],
                ", ".join(needs.get(number, ())),
            ]
        )
        before = layer
    header = ["layer", "step", "state", "needs"]
    table = console.table(header, break_columns(header, rows, (len(header) - 1,)), right=(0,))
    return f"{table}\n\n{count(view.prospects)}"


def draw_mermaid(view: PlanView) -> str:
    """Write a Mermaid flowchart."""
    lines = ["flowchart LR"]
    for number, (name, item) in enumerate(zip(name_steps(view), view.prospects, strict=True)):
        label = f"{name} (may grow)" if item.step.may_grow else name
        style = item.status.replace(" ", "_")
        lines.append(f'  s{number}["{_mermaid(label)}"]:::{style}')
    lines += [
        f'  s{edge.source} -->|"{_mermaid(", ".join(edge.names))}"| s{edge.target}'
        for edge in find_edges(view)
    ]
    lines += [
        "  classDef cached fill:#e6f4ea,stroke:#137333,color:#000",
        "  classDef run fill:#fce8e6,stroke:#c5221f,color:#000",
        "  classDef may_run fill:#fef7e0,stroke:#b06000,color:#000",
    ]
    return "\n".join(lines)


def draw_dot(view: PlanView) -> str:
    """Write a graph in Graphviz' language."""
    colors = {"cached": "#e6f4ea", "run": "#fce8e6", "may run": "#fef7e0"}
    lines = [
        "digraph onnxbuild {",
        "  rankdir=LR;",
        '  node [shape=box, style="rounded,filled", fontname="sans-serif"];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    for number, (name, item) in enumerate(zip(name_steps(view), view.prospects, strict=True)):
        label = f"{name} (may grow)" if item.step.may_grow else name
        lines.append(
            f'  s{number} [label="{_dot(label)}", fillcolor="{colors[item.status]}",'
            f' tooltip="{item.status}"];'
        )
    for edge in find_edges(view):
        label = _dot(", ".join(edge.names))
        lines.append(f'  s{edge.source} -> s{edge.target} [label="{label}"];')
    lines.append("}")
    return "\n".join(lines)


FORMATS: dict[str, Callable[[PlanView], str]] = {
    "dot": draw_dot,
    "mermaid": draw_mermaid,
    "text": draw_text,
}


def _mermaid(text: str) -> str:
    """Escape what Mermaid would read as its own: by its entity codes."""
    return (
        text.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
    )


def _dot(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
