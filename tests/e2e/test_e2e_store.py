"""A store over many builds: weights once, kept small, and what collecting leaves is enough."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from small_project import onnxbuild
from test_e2e_crashes import RECIPE, write_model

from onnxbuild.project import store_folder
from onnxbuild.stores.inventory import CONTENT, list_items
from onnxbuild.stores.local import LocalStore

pytestmark = pytest.mark.e2e

SWEEP = (
    "run", "net.yaml", "-m", "export.opset=17,18,19,20,21", "stages.slim.passes=null,[eliminate_deadend]",
    "settings.executor=inline",
)  # fmt: skip
WEIGHTS = 64 * 64 * 4 + 64 * 32 * 4


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A project built at ten points of a sweep over opsets and options."""
    folder = tmp_path_factory.mktemp("swept") / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    (folder / "net.yaml").write_text(RECIPE)
    write_model(folder / "net.onnx", 0)
    done = onnxbuild(*SWEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def sweeping(swept, tmp_path):
    """A copy of the project that was swept, with its store."""
    folder = tmp_path / "copy"
    shutil.copytree(swept, folder, symlinks=True)
    return folder


def test_ten_sweeps_keep_one_copy_of_each_weight(swept):
    """All graphs refer to the same two, and the store holds no other bytes of them."""
    store = LocalStore(store_folder(str(swept)))
    models = {
        artifact
        for trace in store.actions.all_traces()
        for artifact in trace.results.values()
        if artifact.kind == "model"
    }
    content = sum(item.size for item in list_items(store.root) if item.kind in CONTENT)
    sizes = [os.path.getsize(store.blob_path(part)) for model in models for part in model.parts]
    weights = {part for model in models for part in model.parts}
    graphs = sum(os.path.getsize(store.path(model)) for model in models)
    store.close()

    assert len(models) == 10
    assert len(weights) == 2
    assert sum(sizes) == len(models) * WEIGHTS
    # What else there is are samples, reference, measurements and logs.
    assert content < 2 * WEIGHTS + graphs


def test_what_is_spared_is_all_that_a_build_needs(sweeping):
    """Collected to the bone, the published points are still hits, and a removed one is restored from the store."""
    published = sweeping / "artifacts" / "net"
    model = published / min(os.listdir(published)) / "slim" / "model.onnx"
    before = model.read_bytes()

    collected = onnxbuild("cache", "gc", "--max-size", "0B", cwd=sweeping)
    model.unlink()
    again = json.loads(onnxbuild(*SWEEP, "--json", cwd=sweeping).stdout)

    assert collected.returncode == 0, collected.stderr
    assert "behind published models" in collected.stdout
    assert {step["status"] for step in again["steps"]} == {"cached"}
    assert model.read_bytes() == before


def test_sources_beside_published_models_are_observed(tmp_path):
    """A folder for published models may be one that holds what they are made of."""
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "pyproject.toml").write_text("")
    recipe = RECIPE.replace("net.onnx", "models/net.onnx") + "settings: {artifacts: models}\n"
    (project / "net.yaml").write_text(recipe)
    write_model(project / "models" / "net.onnx", 0)
    call = ("run", "net.yaml", "settings.executor=inline")
    onnxbuild(*call, cwd=project)
    idle = onnxbuild(*call, "settings.jobs=1", cwd=project)
    before = {path.name for path in (project / "models" / "net" / "slim").iterdir()}
    write_model(project / "models" / "net.onnx", 1)

    done = onnxbuild(*call, cwd=project)

    assert idle.stdout.splitlines()[-1].endswith("6 cached"), idle.stderr
    assert done.returncode == 0, done.stderr
    assert " ran" in done.stdout.splitlines()[-1]
    assert {path.name for path in (project / "models" / "net" / "slim").iterdir()} > before


def test_what_was_changed_by_hand_is_said_and_restored(sweeping):
    """One line for each file; no step runs."""
    published = sweeping / "artifacts" / "net"
    folder = published / min(os.listdir(published)) / "slim"
    (data,) = folder.glob("*.data")
    (folder / "model.onnx").unlink()
    data.write_bytes(b"edited")

    done = onnxbuild(*SWEEP, cwd=sweeping)

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith(" cached")
    assert (
        f"{(folder / 'model.onnx').relative_to(sweeping)} is missing; it is restored" in done.stderr
    )
    assert f"{data.relative_to(sweeping)} is not what was published; it is restored" in done.stderr
    assert data.stat().st_size > 1000


def test_a_moved_project_keeps_what_it_has_published(swept, tmp_path):
    """A store elsewhere knows a project by its place; the folders of the project that collects count as well."""
    moved = tmp_path / "moved"
    shutil.copytree(swept, moved, ignore=shutil.ignore_patterns(".onnxbuild"))
    store = tmp_path / "far" / "away" / "store"
    shutil.copytree(swept / ".onnxbuild", store)

    onnxbuild("cache", "gc", "--max-size", "0B", cwd=moved, ONNXBUILD_STORE=str(store))
    done = onnxbuild(*SWEEP, cwd=moved, ONNXBUILD_STORE=str(store))

    assert done.stdout.splitlines()[-1].endswith(" cached"), done.stdout


def test_a_setting_keeps_the_store_small(sweeping):
    """Each build that ran a step collects at its end; what it has just published stays."""
    shutil.rmtree(sweeping / "artifacts")
    before = json.loads(onnxbuild("cache", "size", "--json", cwd=sweeping).stdout)["bytes"]
    setting = "settings.gc.max_size=60kB"

    idle = onnxbuild("run", "net.yaml", "export.opset=18", setting, cwd=sweeping)
    unchanged = json.loads(onnxbuild("cache", "size", "--json", cwd=sweeping).stdout)["bytes"]
    ran = onnxbuild("run", "net.yaml", "export.opset=16", setting, cwd=sweeping)
    after = json.loads(onnxbuild("cache", "size", "--json", cwd=sweeping).stdout)["bytes"]
    checked = onnxbuild("cache", "verify", cwd=sweeping)
    again = onnxbuild("run", "net.yaml", "export.opset=16", cwd=sweeping)

    assert idle.returncode == 0, idle.stderr
    assert " ran" not in idle.stdout.splitlines()[-1]
    assert unchanged >= before * 0.9
    assert ran.returncode == 0, ran.stderr
    # What is left is the database, for the most part.
    assert after < before * 0.6
    assert checked.returncode == 0, checked.stdout
    assert again.stdout.splitlines()[-1].endswith(" cached")
