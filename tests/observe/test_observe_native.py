import pytest

pytestmark = pytest.mark.e2e

WRITE_ALL = """
import warnings
warnings.simplefilter("ignore")
import numpy, torch, safetensors.torch, onnx
from onnx import TensorProto, helper, numpy_helper
safetensors.torch.save_file({"a": torch.ones(3)}, "a.safetensors")
torch.save({"a": torch.ones(3)}, "a.pt")
torch.jit.trace(torch.nn.ReLU(), torch.ones(2)).save("a.ts")
torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.ones(2),)), "a.pt2")
numpy.save("a.npy", numpy.ones(3))
weight = numpy_helper.from_array(numpy.ones((64, 64), numpy.float32), "w")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["y"])], "g",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 64])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 64])], [weight],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnx.save(model, "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
"""

FILES = ["a.safetensors", "a.pt", "a.ts", "a.pt2", "a.npy", "m.onnx", "m.data"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    import os
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("files")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", WRITE_ALL], cwd=folder, check=True, env=environment)
    return folder


@pytest.fixture
def full(project, files):
    import shutil

    for name in FILES:
        shutil.copy(files / name, project.path(name))
    return project


READS = """
import warnings
warnings.simplefilter("ignore")
{imports}
def check(*names):
    from onnxbuild.observe import switch
    seen = {{event.path.rpartition("/")[2] for event in switch.current.events if event.what == "file"}}
    missing = set(names) - seen
    assert not missing, missing
    # The next reader is judged for itself.
    switch.current._seen.clear(); switch.current._noted.clear(); switch.current.events.clear()
{body}
"""


def test_native_readers_are_seen(full):
    """Each library whose reads no audit hook sees, in a process that imports them while it is observed."""
    full.write(
        "model.py",
        READS.format(
            imports="import numpy, torch, onnx, onnxruntime, onnx.shape_inference, safetensors.torch, safetensors.numpy\nfrom safetensors import safe_open",
            body="""
safetensors.torch.load_file("a.safetensors"); check("a.safetensors")
safetensors.numpy.load_file("a.safetensors"); check("a.safetensors")
with safe_open("a.safetensors", "pt") as file:
    assert isinstance(file, safe_open)
    file.keys()
check("a.safetensors")
torch.load("a.pt", weights_only=True); check("a.pt")
torch.load("a.pt", weights_only=True, mmap=True); check("a.pt")
torch.jit.load("a.ts"); check("a.ts")
torch.export.load("a.pt2"); check("a.pt2")
torch.from_file("a.npy", size=3); check("a.npy")
torch.UntypedStorage.from_file("a.npy", False, 12); check("a.npy")
numpy.load("a.npy"); check("a.npy")
numpy.load("a.npy", mmap_mode="r"); check("a.npy")
numpy.memmap("a.npy", mode="r"); check("a.npy")
numpy.fromfile("a.npy"); check("a.npy")
onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"]); check("m.onnx", "m.data")
onnx.load("m.onnx"); check("m.onnx", "m.data")
onnx.checker.check_model("m.onnx"); check("m.onnx", "m.data")
onnx.shape_inference.infer_shapes_path("m.onnx", "inferred.onnx"); check("m.onnx", "m.data")
""",
        ),
    )

    seen = full.run("import model")

    assert seen.kinds("./inferred.onnx") == set()
    assert {"torch", "onnx", "onnxruntime", "safetensors", "numpy"} <= seen.names("package")


def test_names_taken_before_the_hooks_are_seen_too(full):
    """``from safetensors import safe_open`` in a library that a server had imported before."""
    full.write(
        "model.py",
        "import transformers.modeling_utils as library\n"
        "import safetensors.torch\n"
        "with library.safe_open('a.safetensors', framework='pt') as file:\n"
        "    file.keys()\n",
    )

    seen = full.run("import model", before="import transformers.modeling_utils")

    assert "./a.safetensors" in seen.names("file")
    assert {"transformers", "safetensors"} <= seen.names("package")


def test_native_writers_are_the_steps_own(full):
    """What a library writes without telling Python is not observed when it is read back."""
    full.write(
        "writer.py",
        WRITE_ALL + "\nimport os\nassert torch.load('a.pt') and os.path.exists('a.ts')\n",
    )
    for name in FILES:
        full.write(name)
    import os

    for name in FILES:
        os.remove(name)

    seen = full.run(f"import os\n[os.path.exists(name) for name in {FILES!r}]\nimport writer")

    assert seen.changed == ()
    for name in FILES:
        assert seen.kinds(f"./{name}") == set(), name


def test_a_data_loaders_worker_is_seen(project):
    """It is a forked child that reads the files."""
    project.write("one.txt")
    project.write(
        "data.py",
        """
import warnings
warnings.simplefilter("ignore")
import torch
class Files(torch.utils.data.Dataset):
    def __len__(self):
        return 1
    def __getitem__(self, index):
        with open("one.txt") as file:
            return len(file.read())
def load():
    return list(torch.utils.data.DataLoader(Files(), num_workers=1))
""",
    )

    seen = project.run("import data; data.load()")

    assert "./one.txt" in seen.names("file")


def test_an_export_depends_on_the_project_only(project):
    """A dynamo export probes much; nothing of the machine is in what it depends on."""
    project.write(
        "model.py",
        """
import torch
class Model(torch.nn.Module):
    def forward(self, x):
        import helper
        return x * helper.FACTOR
""",
    )
    project.write("helper.py", "FACTOR = 2\n")
    project.write("place/.keep")

    seen = project.run(
        """
        import warnings
        warnings.simplefilter("ignore")
        import torch, model
        torch.onnx.export(model.Model(), (torch.ones(2),), "out.onnx", dynamo=True, verbose=False)
        """,
        before=f"import os; os.environ['TMPDIR'] = {project.path('place')!r}",
    )

    assert seen.names("file") == {"./model.py", "./helper.py"}
    assert not seen.names("machine")
    assert not seen.names("listing")
