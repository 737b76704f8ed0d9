"""A build from PyTorch to published models, as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
from small_project import onnxbuild, ran, run_json

from onnxbuild.observe.witness import COARSE

pytestmark = pytest.mark.e2e


def settle(path):
    """Wait until a file is older than file systems' clocks are coarse."""
    while time.time_ns() - path.stat().st_ctime_ns <= COARSE:
        pass


def test_first_build_publishes_proven_models(built):
    """Every variant is there, loads, and is close to PyTorch; int8 and fp16 are what they say."""
    import onnx

    folder, result = built

    assert result["status"] == "ok"
    variants = {item["variant"]: item for item in result["recipes"][0]["published"]}
    assert set(variants) == {"slim", "fp16", "int8"}
    assert variants["slim"]["fidelity"]["scaled"] < 1e-5
    types = {}
    for name, item in variants.items():
        model = onnx.load(os.path.join(folder, item["path"]))
        onnx.checker.check_model(model, full_check=True)
        types[name] = {
            onnx.TensorProto.DataType.Name(weight.data_type) for weight in model.graph.initializer
        }
        assert model.opset_import[0].version == 18
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert "FLOAT16" in types["fp16"]
    assert "INT8" in types["int8"]


def test_second_build_runs_nothing(project):
    """In another folder, with the store copied along: all hits, and the files are where they were."""
    result = run_json(project)

    assert ran(result) == []
    assert {step["status"] for step in result["steps"]} == {"cached"}


EDITS = {
    "weights": (lambda folder: subprocess.run([sys.executable, "make_weights.py", "1"], cwd=folder, check=True),
                {"reference", "export"}),
    "model file": (lambda folder: edit(folder / "model.py", "mean((2, 3))", "amax((2, 3))"), {"reference", "export"}),
    "imported module": (lambda folder: edit(folder / "helper.py", "torch.relu", "torch.tanh"), {"reference", "export"}),
    "json that it opens": (lambda folder: edit(folder / "shape.json", "2", "3"), None),
    "data script": (lambda folder: edit(folder / "data.py", "0.5", "0.4"), {"collect"}),
    "touch": (lambda folder: os.utime(folder / "model.py"), set()),
    "unrelated file": (lambda folder: (folder / "notes.txt").write_text("x"), set()),
}  # fmt: skip


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def functions(folder, result: dict, *arguments: str) -> set[str]:
    """Name the functions of the steps that ran."""
    plan = json.loads(onnxbuild("plan", "--json", "small.yaml", *arguments, cwd=folder).stdout)
    names = {step["label"]: step["run"].rpartition(":")[2] for step in plan["steps"]}
    return {names[label] for label in ran(result)}


@pytest.mark.parametrize(
    ("name", "must", "must_not"),
    [
        pytest.param(
            "weights", {"reference", "export", "predict"}, {"collect", "samples"}, id="weights"
        ),
        pytest.param(
            "model file", {"reference", "export", "predict"}, {"collect", "samples"}, id="model"
        ),
        pytest.param(
            "imported module", {"reference", "export", "predict"}, {"collect"}, id="import"
        ),
        pytest.param(
            "data script", {"collect", "evaluate"}, {"export", "reference", "samples"}, id="data"
        ),
        pytest.param("touch", set(), {"*"}, id="touch"),
        pytest.param("unrelated file", set(), {"*"}, id="unrelated"),
    ],
)
def test_edits_rerun_what_they_must(project, name, must, must_not):
    """Each kind of edit runs what depends on it, and nothing else; `explain` knows before."""
    EDITS[name][0](project)

    told = json.loads(onnxbuild("explain", "--json", "small.yaml", cwd=project).stdout)
    result = run_json(project)

    executed = functions(project, result)
    assert must <= executed
    assert not executed if "*" in must_not else not must_not & executed
    expected = {step["label"] for step in told["steps"] if step["status"] == "run"}
    assert expected <= set(ran(result))
    assert bool(expected) == bool(must)


def test_comment_is_cut_off_early(project):
    """A comment in the model file reruns what imports it; its result is the same, so nothing after it."""
    edit(project / "model.py", "return Net(width)", "return Net(width)  # a comment")

    executed = functions(project, run_json(project))

    assert executed == {"reference", "predict", "export"}


def test_option_of_the_last_stage(project):
    """Only the stage and what measures it run; going back is all hits."""
    changed = run_json(project, "stages.fp16.keep_io_types=false")
    back = run_json(project)

    executed = functions(project, changed, "stages.fp16.keep_io_types=false")
    assert "convert" in executed
    assert not executed & {"export", "reference", "collect", "observe", "quantize"}
    assert ran(back) == []


def test_stale_bytecode_does_not_hide_an_edit(project):
    """A same-size edit of an imported module, its time restored, is seen and takes effect."""
    path = project / "helper.py"
    status = path.stat()
    edit(path, "torch.relu", "torch.tanh")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    result = run_json(project)

    assert "export" in functions(project, result)
    model = next(item for item in result["recipes"][0]["published"] if item["variant"] == "slim")
    import onnx

    assert "Tanh" in {node.op_type for node in onnx.load(project / model["path"]).graph.node}


def test_published_file_is_restored_without_a_step(project):
    """An edited or deleted published file comes back from the store."""
    target = project / "artifacts" / "small" / "slim" / "model.onnx"
    content = target.read_bytes()
    target.write_bytes(b"edited")
    (project / "artifacts" / "small" / "fp16" / "build.json").unlink()
    shutil.rmtree(project / "artifacts" / "small" / "int8")

    result = run_json(project)

    assert ran(result) == []
    assert target.read_bytes() == content
    assert (project / "artifacts" / "small" / "fp16" / "build.json").exists()
    assert (project / "artifacts" / "small" / "int8" / "model.onnx").exists()


def test_missed_gate_publishes_nothing_of_that_variant(project):
    """Exit 3, what was measured against what was asked, the older file untouched and named, the rest published."""
    older = (project / "artifacts" / "small" / "int8" / "model.onnx").read_bytes()

    result = run_json(project, "verify.int8={scaled: 1.0e-9}", code=3)

    assert result["status"] == "gate"
    assert {item["variant"] for item in result["recipes"][0]["published"]} == {"slim", "fp16"}
    assert "int8" in result["errors"][0]["what"]
    assert "earlier build" in result["errors"][0]["hint"]
    assert "it departs from the exported model at" in result["errors"][0]["hint"]
    assert (project / "artifacts" / "small" / "int8" / "model.onnx").read_bytes() == older
    assert ran(result) == ["locate the error of int8"]


def test_damaged_action_cache_is_rebuilt(project):
    """A file that is no database is said to be damaged by looking, put aside and named by building."""
    (project / ".onnxbuild" / "actions.sqlite").write_bytes(b"no database at all" * 100)
    shutil.rmtree(project / ".onnxbuild" / "answers")

    looked = onnxbuild("plan", "small.yaml", cwd=project)
    built = onnxbuild("run", "small.yaml", "--json", cwd=project)

    result = json.loads(built.stdout)
    assert looked.returncode == 1
    assert "damaged" in looked.stderr
    assert result["status"] == "ok"
    assert set(result) == {"status", "recipes", "steps", "errors"}
    assert "put aside" in built.stderr
    assert {step["status"] for step in result["steps"]} == {"ran"}
    assert ran(run_json(project)) == []


def test_variant_that_cannot_be_written_is_told_beside_the_others(project):
    """A file where the folder should be: exit 1, what and where; the others are published, the table is there."""
    target = project / "artifacts" / "small" / "fp16"
    shutil.rmtree(target)
    target.write_text("in the way")

    done = onnxbuild("run", "small.yaml", cwd=project)

    assert done.returncode == 1
    assert "small/fp16 was not published" in done.stderr
    assert "2 of 3 variants up to date" in done.stdout
    assert target.read_text() == "in the way"


def test_variant_that_is_no_longer_published_is_told_of(project):
    """Nothing keeps it up to date: said by each build, remembered ones too, until someone decides."""
    recipe = project / "small.yaml"
    recipe.write_text(recipe.read_text().replace("[slim, fp16, int8]", "[slim, int8]"))
    told = os.path.join("artifacts", "small", "fp16") + " is from an earlier state of the recipe"

    for _ in range(2):
        assert told in onnxbuild("run", "small.yaml", cwd=project).stderr
    shutil.rmtree(project / "artifacts" / "small" / "fp16")
    (project / "artifacts" / "small" / "of_mine").mkdir()
    said = onnxbuild("run", "small.yaml", cwd=project)

    assert said.returncode == 0
    assert "earlier state" not in said.stderr


def test_variable_that_the_recipe_withholds_is_told_of(project):
    """The model's code asks for one that is set here: said each time, until the recipe passes it on."""
    model = project / "model.py"
    model.write_text(model.read_text() + 'SIZE = os.environ.get("OF_MINE")\n')

    said = [onnxbuild("run", "small.yaml", cwd=project, OF_MINE="9").stderr for _ in range(2)]
    unset = onnxbuild("run", "small.yaml", cwd=project).stderr
    recipe = project / "small.yaml"
    recipe.write_text(recipe.read_text() + "pass_env: [OF_MINE]\n")
    passed = onnxbuild("run", "small.yaml", cwd=project, OF_MINE="9").stderr

    assert all("asks for the environment variable OF_MINE" in text for text in said)
    assert "OF_MINE" not in unset + passed


def test_a_file_in_the_current_folder_hides_nothing_of_ours(project):
    """`python -m onnxbuild` is no reason to import a colorsys.py that happens to lie there."""
    for name in ("colorsys.py", "tempfile.py"):
        (project / name).write_text("raise RuntimeError\n")
    shutil.rmtree(project / "artifacts")

    assert ran(run_json(project)) == []
    # Nor does the server of the workers look there.
    assert ran(run_json(project, "--rerun", "samples")) == ["samples"]


def test_names_of_any_bytes_are_observed(project):
    """A file whose name is no text, or has a line break in it, is a file like any other."""
    (project / "data").mkdir()
    for name in (b"data/\xff\xfe.txt", b"data/a\nb"):
        with open(os.path.join(os.fsencode(project), name), "w") as file:
            file.write("1")
    model = project / "model.py"
    model.write_text(
        model.read_text() + "for name in os.listdir('data'):\n    open('data/' + name).close()\n"
    )

    run_json(project)

    assert ran(run_json(project)) == []
    with open(os.path.join(os.fsencode(project), b"data/\xff\xfe.txt"), "w") as file:
        file.write("2")
    assert "export" in ran(run_json(project))


STAGE = """
import subprocess, time

def read_by_program(model, then=""):
    model.graph.doc_string = subprocess.run(["cat", "note.txt"], capture_output=True, text=True).stdout
    if then:
        subprocess.run(["cp", then, "note.txt"], check=True)
    return model

def stamp(model):
    model.graph.doc_string = str(time.time_ns())
    return model
"""


def add_stage(project, use):
    (project / "own.py").write_text(STAGE)
    recipe = project / "small.yaml"
    text = recipe.read_text().replace("[slim, fp16, int8]", "[own]")
    recipe.write_text(text.replace("stages:\n", f"stages:\n  own: {use}\n"))


def doc_string(project):
    path = project / "artifacts" / "small" / "own" / "model.onnx"
    return onnx.load(path).graph.doc_string


def test_file_that_changes_under_a_program_gives_no_result_that_stays(project):
    """What it read is not known: published, since it may be right, and run again by the next build."""
    (project / "note.txt").write_text("old")
    (project / "later.txt").write_text("new")
    settle(project / "note.txt")
    add_stage(project, "{use: own.py:read_by_program, then: later.txt}")

    said = onnxbuild("run", "small.yaml", cwd=project)
    (project / "own.py").write_text(STAGE.replace("if then:", "if False:"))
    again = run_json(project)

    assert "own: read_by_program: its result is not kept" in said.stderr
    assert "own: read_by_program" in ran(again)
    assert doc_string(project) == "new"
    assert ran(run_json(project)) == []


def test_result_of_a_needless_run_does_not_replace_the_first(project):
    """Else the next plain run would take back what `--rerun` published."""
    add_stage(project, "own.py:stamp")
    run_json(project)
    first = doc_string(project)

    told = [
        onnxbuild("run", "small.yaml", *words, cwd=project).stderr
        for words in (("--rerun", "own"), (), ())
    ]

    assert doc_string(project) == first
    assert all("own: stamp is not reproducible: 2 runs" in text for text in told)


def test_failing_user_code_is_named(project):
    """Exit 1, the user's file and line, and nothing published of what depends on it."""
    edit(
        project / "model.py",
        "return self.head",
        "raise ValueError('deliberate')\n        return self.head",
    )

    done = onnxbuild("run", "small.yaml", cwd=project)

    assert done.returncode == 1
    assert "deliberate" in done.stderr
    assert "model.py" in done.stderr
    assert "onnxbuild/" not in done.stderr.replace(str(project), "")


def test_build_json_tells_where_a_model_comes_from(project):
    """Every file that was read by its digest, and no path, host or user of this machine."""
    from onnxbuild.core.digest import digest_file

    text = (project / "artifacts/small/int8/build.json").read_text()
    told = json.loads(text)

    read = {
        item["file"]: item["digest"]
        for step in told["provenance"]["steps"]
        for item in step["read"]
    }
    assert set(read) == {
        "./model.py",
        "./helper.py",
        "./shape.json",
        "./weights.safetensors",
        "./data.py",
    }
    assert all(digest_file(str(project / name)) == digest for name, digest in read.items())
    model = told["files"]["model.onnx"]["digest"]
    assert model == digest_file(str(project / "artifacts/small/int8/model.onnx"))
    for word in ("/tmp/", "/root/", "/home/", os.uname().nodename):
        assert word not in text


def test_python_gives_what_the_command_gives(project, monkeypatch):
    """`onnxbuild.run` in a script: values, and nothing runs that is cached."""
    import onnxbuild as package

    monkeypatch.chdir(project)
    result = package.run("small.yaml")

    assert result.status == "ok"
    assert {step.status for step in result.steps} == {"cached"}
    fp16 = result.variants["fp16"]
    assert fp16.read_bytes() == (project / "artifacts/small/fp16/model.onnx").read_bytes()
    assert os.path.isabs(fp16.path)
    assert fp16.fidelity.cosine > 0.999


def test_published_model_runs_at_any_batch(project):
    """The dynamic axis is dynamic."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(project / "artifacts/small/int8/model.onnx"))
    for batch in (1, 3, 7):
        (logits,) = session.run(None, {"image": np.zeros((batch, 1, 8, 8), np.float32)})
        assert logits.shape == (batch, 2)


def test_undeclared_variable_does_not_reach_the_model(project):
    """A variable that the recipe does not declare is not there; a declared one is, and counts."""
    edit(project / "model.py", "def build(width=8):",
         "def build(width=8):\n    print('SECRET is', os.environ.get('SECRET'))")  # fmt: skip
    first = onnxbuild("run", "small.yaml", cwd=project, SECRET="a")
    log = onnxbuild("log", "export", "small.yaml", cwd=project).stdout
    same = onnxbuild("run", "--json", "small.yaml", cwd=project, SECRET="b")

    assert first.returncode == 0, first.stderr
    assert "SECRET is None" in log
    assert ran(json.loads(same.stdout)) == []
