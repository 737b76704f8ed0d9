"""That the gates of the checked-in recipes bite: a weight broken on purpose must make the build exit 3.

``python benchmarks/bite.py [RECIPE…]``. Each recipe is built as it is, then with a stage behind its fp32 and
its int8 variant that breaks one weight: a single element, or a whole tensor.
"""

from __future__ import annotations

import json
import os
import sys

from measure import RECIPES, onnxbuild, project, run

NAMES = ("digits", "resnet18", "super_resolution", "minilm")
MISSED = 3

STAGE = """
import numpy as np
from onnx import numpy_helper


def break_weight(model, whole):
    # The largest weight: all of it negated, or one element ten times the largest.
    # Not a table of embeddings: no text has all of its rows.
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    tensors = [t for t in model.graph.initializer if len(t.dims) > 1 and t.name not in tables]
    tensor = max(tensors, key=lambda t: np.prod(t.dims))
    name = tensor.name
    values = numpy_helper.to_array(tensor).copy()
    if not whole:
        values.flat[values.size // 2] = 10 * np.abs(values).max()
    elif values.dtype == np.int8:
        values = -np.maximum(values, -127)
    else:
        values = -values
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    return model
"""


def main() -> None:
    """Break each recipe in both ways."""
    wrong = 0
    for name in sys.argv[1:] or NAMES:
        parts = [os.path.join(RECIPES, name), os.path.join(RECIPES, f"{name}.yaml")]
        with project(*parts) as folder:
            with open(os.path.join(folder, "breaking.py"), "w", encoding="utf-8") as file:
                file.write(STAGE)
            whole = run(onnxbuild("run", f"{name}.yaml", "--json"), folder).json()
            print(f"{name}: as it is, {len(whole['recipes'][0]['published'])} variants published")
            for source, all_of_it in (("slim", False), ("slim", True), ("int8", True)):
                wrong += not try_breaking(folder, name, source, all_of_it)
    sys.exit(1 if wrong else 0)


def try_breaking(folder: str, name: str, source: str, whole: bool) -> bool:
    """Build with one weight broken; print what came of it, and say whether the build refused."""
    stage = f"{{use: 'breaking.py:break_weight', from: {source}, whole: {json.dumps(whole)}}}"
    overrides = [f"+stages.broken={stage}", "publish=[broken]"]
    # Gates are said for variants that are published.
    overrides += [f"~verify.{key}" for key in gates(folder, name)]
    if source == "int8":
        overrides.append("+verify.broken={scaled: 0.25, cosine: 0.96}")
    done = run(onnxbuild("run", f"{name}.yaml", *overrides, "--json"), folder, check=False)
    what = "all of a tensor" if whole else "one element"
    words = ""
    if done.code == MISSED:
        words = "; ".join(error["what"] for error in done.json()["errors"])[:160]
    elif done.code != 0:
        words = (done.errors or done.output)[:800]
    print(
        f"    {source}, {what} broken: exit {done.code} {'' if done.code == MISSED else 'NOT REFUSED '}{words}"
    )
    return done.code == MISSED


def gates(folder: str, name: str) -> list[str]:
    """Name the variants for which a recipe has gates."""
    import yaml

    with open(os.path.join(folder, f"{name}.yaml"), encoding="utf-8") as file:
        return [key for key in yaml.safe_load(file).get("verify", {}) if key != "default"]


if __name__ == "__main__":
    main()
