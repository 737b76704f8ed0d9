"""The architecture is a test: imports go down, and planning stays light."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import onnxbuild

PACKAGE = Path(onnxbuild.__file__).parent
PROJECT = PACKAGE.parent

LIBRARIES = [
    # modules, libraries that they may import, why
    (
        "core.digest",
        {"blake3"},
        "digests of everything; 1.3 ms to import, so the cached path bears it",
    ),
    ("graph.wire", {"blake3"}, "weights are digested while they are written"),
    ("cli.progress", {"rich"}, "live lines, on a terminal and only while a step runs"),
    ("cli.opsets", {"onnx"}, "which operators an opset has, asked by one command"),
    (
        "compose.*",
        {"hydra", "omegaconf"},
        "composes recipes, when the composed one is not remembered",
    ),
    ("compose.configs", {"packaging"}, "the version whose behaviour Hydra is asked for"),
    ("recipe.reader", {"yaml"}, "YAML with positions, read safely"),
    ("recipe.messages", {"jsonschema"}, "all mistakes of a recipe at once"),
    (
        "arrays",
        {"numpy", "ml_dtypes"},
        "arrays in one deterministic file; bfloat16 is in ml_dtypes",
    ),
    ("graph.*", {"numpy", "onnx", "onnx_ir", "onnxruntime"}, "graphs are read, written and loaded"),
    ("graph.load", {"google"}, "what protobuf raises on a file that is no model"),
    ("stages.*", {"numpy", "onnx", "onnx_ir", "onnxruntime"}, "stages rewrite graphs"),
    ("stages.onnxoptimizer.*", {"onnxoptimizer"}, "the passes behind the stage"),
    ("stages.onnxslim.*", {"onnxslim"}, "the extra `slim`"),
    ("stages.onnxscript.*", {"onnxscript"}, "the optimizer behind the stage"),
    (
        "rules.*",
        {"numpy", "onnx_ir", "torch"},
        "rules replace torch modules, operators, parts of graphs",
    ),
    ("rules.building", {"onnx", "onnxscript"}, "the builder of nodes, over onnxscript's opsets"),
    ("rules.inferring", {"onnx"}, "what operators declare of their types"),
    ("rules.patterns", {"onnxscript"}, "its rewriter"),
    ("rules.nan_to_num.*", {"ml_dtypes"}, "limits of small floats"),
    (
        "steps.*",
        {"numpy", "onnx", "onnx_ir", "onnxruntime"},
        "steps export, run and compare models",
    ),
    ("steps.export.*", {"onnxscript", "torch"}, "exports live modules"),
    ("steps.model.*", {"torch"}, "loads live modules"),
    ("steps.model.tensors", {"ml_dtypes"}, "bfloat16 between torch and numpy"),
    ("steps.model.weights", {"safetensors"}, "weights, memory-mapped"),
    ("steps.model.caches", {"transformers"}, "the caches that its models take"),
    ("steps.model.loading", {"transformers"}, "the extra `huggingface`"),
    ("steps.verify.modules", {"torch"}, "runs the model as the user wrote it"),
    ("steps.reference.*", {"torch"}, "runs the model as the user wrote it"),
    ("steps.samples.declared", {"google"}, "what protobuf raises on a file that is no model"),
]

BROUGHT = {
    "google": "onnx brings protobuf",
    "ml_dtypes": "onnx and onnx-ir bring it",
    "omegaconf": "hydra-core brings it",
    "packaging": "hydra-core brings it",
    "onnxslim": "the extra `slim`",
    "transformers": "the extra `huggingface`",
}

OTHERWISE_NAMED = {"hydra": "hydra-core", "yaml": "pyyaml"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the package, named below it, with its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(), str(path))


def imports(tree: ast.Module) -> set[str]:
    """All that a module imports, wherever the statement stands."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found |= {item.name for item in names}
            case ast.ImportFrom(module=str(origin), level=0):
                found.add(origin)
            case ast.ImportFrom():
                found.add(".")
    return found


def libraries(tree: ast.Module) -> set[str]:
    """What a module imports beside the standard library and onnxbuild."""
    tops = {name.partition(".")[0] for name in imports(tree)}
    return tops - sys.stdlib_module_names - {"onnxbuild"}


def allowed(module: str) -> set[str]:
    """What the table lets a module import; the specs of steps, stages and rules get nothing."""
    if module.rpartition(".")[2] == "spec":
        return set()
    return {name for pattern, names, _ in LIBRARIES if fnmatch(module, pattern) for name in names}


def test_import_contracts():
    """The contracts in pyproject.toml hold; run `lint-imports` to see a broken one drawn."""
    command = os.path.join(os.path.dirname(sys.executable), "lint-imports")

    done = subprocess.run([command, "--no-cache"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_each_module_imports_the_libraries_of_the_table_only():
    """A library that a package newly leans on is a decision, and gets a line with its reason."""
    found = {name: libraries(tree) - allowed(name) for name, tree in modules()}

    assert {name: names for name, names in found.items() if names} == {}


def test_the_table_of_libraries_allows_nothing_that_is_unused():
    """What nobody imports any more leaves the table."""
    used = {name: libraries(tree) for name, tree in modules()}
    unused = [
        (pattern, name)
        for pattern, names, _ in LIBRARIES
        for name in sorted(names)
        if not any(fnmatch(module, pattern) and name in found for module, found in used.items())
    ]

    assert unused == []


def test_every_library_is_installed_with_the_package():
    """What a module imports is a dependency of the package, or comes with one for a reason that is given."""
    with (PROJECT / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["dependencies"]
    distributions = {text.partition(">")[0].strip().replace("-", "_"): text for text in declared}
    imported = {name for _, tree in modules() for name in libraries(tree)}
    missing = {
        name
        for name in imported - BROUGHT.keys()
        if OTHERWISE_NAMED.get(name, name).replace("-", "_") not in distributions
    }

    assert missing == set()
    assert imported >= BROUGHT.keys()


def test_core_stands_on_nothing():
    """core imports the standard library, blake3, itself and the errors."""
    strange = {
        name: {
            item
            for item in imports(tree)
            if item.partition(".")[0] not in sys.stdlib_module_names | {"blake3"}
            and not f"{item}.".startswith(("onnxbuild.core.", "onnxbuild.errors."))
        }
        for name, tree in modules()
        if name.partition(".")[0] == "core"
    }

    assert len(strange) > 5
    assert {name: items for name, items in strange.items() if items} == {}


def test_files_and_functions_stay_short():
    """No file above 400 lines, and fewer than 2 % of the functions above 50: what is longer does two things."""
    long_files = [
        path.relative_to(PROJECT).as_posix()
        for path in sorted(PACKAGE.rglob("*.py"))
        if len(path.read_text().splitlines()) > 400
    ]
    functions = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long_functions = [name for name, lines in functions.items() if lines > 50]

    assert long_files == []
    assert len(long_functions) < 0.02 * len(functions), long_functions


def test_imports_are_absolute():
    """The code behind a step is found by the names of its imports."""
    assert [name for name, tree in modules() if "." in imports(tree)] == []
