"""The commands on a project, as people run them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "onnx", "onnxruntime", "numpy", "onnx_ir", "onnxscript"}


def test_validate_says_ok(onnxbuild, project: Path) -> None:
    """A right recipe is answered on stdout with its name and file."""
    done = onnxbuild("validate", "tiny.yaml")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "ok: tiny (tiny.yaml)\n"


def test_validate_shows_all_mistakes_of_all_recipes(onnxbuild, project: Path) -> None:
    """Right recipes are named, wrong ones give all their mistakes, and the exit code is 2."""
    text = (project / "tiny.yaml").read_text()
    (project / "wrong.yaml").write_text(
        text.replace("name: tiny", "name: wrong")
        .replace("opset:", "opset_version:")
        .replace("kwargs", "kwarg")
    )

    done = onnxbuild("validate", "tiny.yaml", "wrong.yaml")

    assert done.returncode == 2
    assert done.stdout == "ok: tiny (tiny.yaml)\n"
    assert "wrong.yaml:4:3" in done.stderr
    assert "wrong.yaml:8:" in done.stderr
    assert "3 mistakes" in done.stderr


def test_validate_sees_that_code_was_edited(onnxbuild, project: Path) -> None:
    """A remembered answer ends with an edit of the code that the recipe names."""
    assert onnxbuild("validate", "tiny.yaml").returncode == 0
    model = project / "tiny" / "model.py"
    model.write_text(model.read_text().replace("def build(", "def make("))

    done = onnxbuild("validate", "tiny.yaml")

    assert done.returncode == 2
    assert "build" in done.stderr


def test_validate_as_json(onnxbuild, project: Path) -> None:
    """``--json`` has each recipe with its verdict, and the mistakes as values."""
    (project / "wrong.yaml").write_text("name: wrong\nmodle: {}\n")

    done = onnxbuild("validate", "--json", "tiny.yaml", "wrong.yaml")

    body = json.loads(done.stdout)
    assert done.returncode == 2
    assert body["status"] == "failed"
    assert [item["ok"] for item in body["recipes"]] == [True, False]
    assert all(item["what"] for item in body["errors"])


def test_plan_of_what_was_never_built(onnxbuild, project: Path) -> None:
    """What has no input would run; what stands behind it may run; the last line counts."""
    done = onnxbuild("plan", "tiny.yaml")

    assert done.returncode == 0, done.stderr
    assert "would run  nothing like it was ever built" in done.stdout
    assert "may run" in done.stdout
    counted, foreseen = done.stdout.splitlines()[-2:]
    assert counted.endswith("may run")
    assert foreseen == "nothing is known yet of how long that takes"


def test_dry_run_is_the_plan(onnxbuild, project: Path) -> None:
    """``run --dry-run`` prints what ``plan`` prints, and builds nothing."""
    assert onnxbuild("run", "-n", "tiny.yaml").stdout == onnxbuild("plan", "tiny.yaml").stdout
    assert not (project / "artifacts").exists()


def test_plan_as_json(onnxbuild, project: Path) -> None:
    """``plan --json`` gives the steps with their inputs as numbers in the same list."""
    body = json.loads(onnxbuild("plan", "--json", "tiny.yaml").stdout)

    labels = [step["label"] for step in body["steps"]]
    slim = next(step for step in body["steps"] if step["label"].startswith("slim: "))
    assert slim["recipe"] == "tiny"
    assert labels[slim["inputs"]["model"]].startswith("export")


def test_only_narrows_the_plan(onnxbuild, project: Path) -> None:
    """``--only`` leaves the steps that the named variants need."""
    recipe = (
        (project / "tiny.yaml").read_text().replace("publish: [slim]", "publish: [export, slim]")
    )
    (project / "tiny.yaml").write_text(recipe)

    done = onnxbuild("plan", "--only", "export", "tiny.yaml")

    assert done.returncode == 0, done.stderr
    assert "slim" not in done.stdout


@pytest.mark.parametrize("command", ["validate", "plan", "explain", "graph"])
def test_planning_imports_no_library(project: Path, environment, command: str) -> None:
    """Looking at a recipe imports none of the libraries that do the work, nor Hydra once it is remembered."""
    code = (
        "import sys; from onnxbuild.cli.main import main; code = main(sys.argv[1:]);"
        "print(','.join({name.partition('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )

    first, second = (
        subprocess.run(
            [sys.executable, "-c", code, command, "tiny.yaml"],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(2)
    )

    assert not HEAVY & set(first.stderr.strip().split(","))
    assert not (HEAVY | {"hydra", "omegaconf"}) & set(second.stderr.strip().split(","))
    assert second.stdout == first.stdout


@pytest.mark.parametrize(
    ("form", "begin"),
    [("text", "  layer"), ("mermaid", "flowchart LR"), ("dot", "digraph onnxbuild {")],
)
def test_graph_is_drawn(onnxbuild, project: Path, form: str, begin: str) -> None:
    """The plan is drawn in each format."""
    done = onnxbuild("graph", "--format", form, "tiny.yaml")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(begin)
    assert "slim: onnxoptimizer" in done.stdout


def test_explain_one_step(onnxbuild, project: Path) -> None:
    """A step is named by a part of its name, in any place."""
    done = onnxbuild("explain", "samples", "tiny.yaml")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "samples: would run\n    nothing like it was ever built\n"


def test_explain_of_an_unknown_step(onnxbuild, project: Path) -> None:
    """A typo in a step's name is answered with the step that was meant."""
    done = onnxbuild("explain", "tiny.yaml", "smaples")

    assert done.returncode == 2
    assert "did you mean 'samples'?" in done.stderr


def test_there_is_no_log_before_a_run(onnxbuild, project: Path) -> None:
    """A step that has not run has no log, and a name that is no step is refused."""
    quiet = onnxbuild("log", "samples", "tiny.yaml")
    wrong = onnxbuild("log", "tiny.yaml", "smaples")

    assert (quiet.returncode, quiet.stdout) == (0, "")
    assert "has not run" in quiet.stderr
    assert wrong.returncode == 2


def test_there_is_no_store_before_a_run(onnxbuild, project: Path) -> None:
    """``cache size`` makes no store where there is none."""
    done = onnxbuild("cache", "size")

    assert done.returncode == 2
    assert "there is no store" in done.stderr
    assert not (project / ".onnxbuild").exists()


@pytest.mark.e2e
def test_commands_after_a_run(onnxbuild, project: Path) -> None:
    """After a build: the plan is all cached, causes name the trace, the log and the store are there."""
    ran = onnxbuild("run", "tiny.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr

    plan = onnxbuild("plan", "tiny.yaml")
    explained = onnxbuild("explain", "tiny.yaml", "reference")
    log = onnxbuild("log", "reference", "tiny.yaml")
    size = json.loads(onnxbuild("cache", "size", "--json").stdout)
    looked = onnxbuild("inspect", "artifacts/tiny/slim/model.onnx")

    assert "would run" not in plan.stdout
    assert plan.stdout.splitlines()[-1].endswith(" cached")
    assert "read tiny/model.py, unchanged since" in explained.stdout
    assert "building the tiny model" in log.stdout
    assert onnxbuild("log", "reference").stdout == log.stdout
    assert size["recipes"]["tiny"]["unique"] == size["recipes"]["tiny"]["bytes"] > 0
    assert size["bytes"] >= size["recipes"]["tiny"]["bytes"]
    assert "ai.onnx 17" in looked.stdout


@pytest.mark.e2e
def test_explain_names_the_edit_before_it_is_built(onnxbuild, project: Path) -> None:
    """After an edit of the model's file, its readers would run for that reason; ``run`` proves it right."""
    assert onnxbuild("run", "tiny.yaml").returncode == 0
    model = project / "tiny" / "model.py"
    model.write_text(model.read_text() + "# a comment\n")

    explained = json.loads(onnxbuild("explain", "--json", "tiny.yaml").stdout)["steps"]
    ran = json.loads(onnxbuild("run", "--json", "tiny.yaml").stdout)["steps"]

    causes = {step["label"]: step["causes"] for step in explained if step["status"] == "run"}
    assert causes
    assert all(item == ["tiny/model.py changed"] for item in causes.values())
    assert {step["label"] for step in ran if step["status"] == "ran"} >= causes.keys()


@pytest.mark.e2e
def test_log_of_a_step_that_failed(onnxbuild, project: Path) -> None:
    """What a failing step printed can be read."""
    model = project / "tiny" / "model.py"
    model.write_text(
        model.read_text().replace("return", "raise ValueError('too tiny')\n    return")
    )

    failed = onnxbuild("run", "tiny.yaml")
    assert "onnxbuild log reference tiny.yaml" in failed.stderr
    log = onnxbuild("log", "reference", "tiny.yaml")

    assert failed.returncode == 1
    assert "too tiny" in failed.stderr
    assert "building the tiny model" in log.stdout
    assert "too tiny" in log.stdout
    assert "failed" in log.stderr
