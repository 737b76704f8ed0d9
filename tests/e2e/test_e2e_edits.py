"""What a step reads, it is seen to read: each way of reading, an edit of what is read, and what follows.

Each case is a step of its own in one project, run by a real worker; its name says what is edited. What is
held elsewhere:

=====================================================  ======================================================
a file saved while a step runs                         ``test_e2e_edits_meanwhile``
the same under a program that is not Python            ``test_e2e_build``
two builds at once, with an edit between them          ``test_e2e_edits_meanwhile``
declared and undeclared variables                      ``test_e2e_edits_meanwhile``, ``test_e2e_build``
a model's file, weights, data, metric; touch;          ``test_e2e_build``
 comments (early cutoff); a same-size edit of a module
a published file edited or deleted by hand             ``test_e2e_build``
an option changed and changed back                     ``test_e2e_build``
a version of a library; a build from another folder    ``benchmarks/edits.py``, ``test_e2e_relocation``
an import inside ``forward`` of what is exported       ``observe/test_observe_native``
every native reader that has a wrapper                 ``observe/test_observe_native``
what two steps read at once                            ``observe/test_observe_witness``
=====================================================  ======================================================
"""

from __future__ import annotations

import os
import sqlite3
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from readers import Builder, Reader, make, settle, text

pytestmark = pytest.mark.e2e
MODULE = "VALUE = {}\n"


def save_model(path, number):
    """Write an ONNX model that gives a number."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constant = numpy_helper.from_array(np.array([number], np.float32), "c")
    graph = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["y"])], "g", [],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])], [constant],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


def save_tensors(path, number):
    from safetensors.numpy import save_file

    save_file({"a": np.array([number])}, path)


def save_torch(path, number):
    import torch

    torch.save({"a": torch.tensor([number])}, path)


def save_database(path, number):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE IF NOT EXISTS t (n)")
        database.execute("DELETE FROM t")
        database.execute("INSERT INTO t VALUES (?)", (number,))
    database.close()


def outside(folder: Path) -> Path:
    return folder.parent.parent / "outside" / folder.name


def bytecode(folder: Path, number: int) -> None:
    import py_compile

    source = folder / "gone.py"
    if number == 1:
        source.write_text("VALUE = 1\n")
        py_compile.compile(str(source))
    else:
        source.unlink()
        assert list((folder / "__pycache__").iterdir())


def quietly(path: Path, content: str) -> None:
    """Write as many bytes as there were, and give the file its time back."""
    before = path.stat() if path.exists() else None
    path.write_text(content)
    if before:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert path.stat().st_size == before.st_size


def link(folder: Path, number: int) -> None:
    for each in (1, 2):
        (folder / f"v{each}").write_text(str(each))
    (folder / "current").unlink(missing_ok=True)
    (folder / "current").symlink_to(f"v{number}")


def linked_folder(folder: Path, number: int) -> None:
    text("deep", "a.txt")(outside(folder), number)
    if number == 1:
        (folder / "data").symlink_to(outside(folder))


def zipped(folder: Path, number: int) -> None:
    import zipfile

    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        # Without a date of its own, a member has that of a fixed day: equal content is equal bytes.
        archive.writestr(zipfile.ZipInfo("zipped.py"), MODULE.format(number))


@cache
def make_logs() -> tuple[bytes, dict[int, bytes]]:
    """Give a database, and by number what it has beside it after a commit that is not written back yet."""
    logs = {}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        for number in (0, 1, 2):
            with sqlite3.connect(path) as database:
                if number == 0:
                    database.execute("PRAGMA journal_mode=WAL")
                    database.execute("CREATE TABLE t (n)")
                else:
                    database.execute("INSERT INTO t VALUES (?)", (number,))
                    database.commit()
                    logs[number] = Path(f"{path}-wal").read_bytes()
            database.close()
            if number == 0:
                content = path.read_bytes()
    return content, logs


def write_ahead(folder: Path, number: int) -> None:
    content, logs = make_logs()
    (folder / "a.db").write_bytes(content)
    (folder / "a.db-wal").write_bytes(logs[number])


IMPORTS = [
    Reader(
        name="import-deep",
        code="import first\n\ndef value():\n    return first.second.third.VALUE\n",
        write=lambda folder, number: [
            (folder / "first.py").write_text("import second\n"),
            (folder / "second.py").write_text("import third\n"),
            (folder / "third.py").write_text(MODULE.format(number)),
        ],
        told="{}/third.py changed",
    ),
    Reader(
        name="import-package",
        code="import pkg\n\ndef value():\n    return pkg.VALUE\n",
        write=text("pkg", "__init__.py", form=MODULE),
        told="{}/pkg/__init__.py changed",
    ),
    Reader(
        name="import-namespace",
        code="import space.leaf\n\ndef value():\n    return space.leaf.VALUE\n",
        write=text("space", "leaf.py", form=MODULE),
        told="{}/space/leaf.py changed",
    ),
    Reader(
        name="import-relative",
        code="from pack import VALUE\n\ndef value():\n    return VALUE\n",
        write=lambda folder, number: [
            text("pack", "__init__.py", form="from .inner.leaf import VALUE\n")(folder, number),
            text("pack", "inner", "__init__.py", form="")(folder, number),
            text("pack", "inner", "leaf.py", form="from ..other import VALUE\n")(folder, number),
            text("pack", "other.py", form=MODULE)(folder, number),
        ],
        told="{}/pack/other.py changed",
    ),
    Reader(
        name="import-in-forward",
        code=(
            "import torch\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        import late\n"
            "        return x * late.VALUE\n\ndef value():\n    return Net()(torch.ones(1))\n"
        ),
        write=text("late.py", form=MODULE),
        told="{}/late.py changed",
    ),
    Reader(
        name="import-shadowed",
        code="import helper\n\ndef value():\n    return helper.VALUE\n",
        write=lambda folder, number: (
            text("helper.py", form=MODULE)
            if number == 1
            else text("helper", "__init__.py", form=MODULE)
        )(folder, number),
        told="{}/helper/__init__.py appeared",
    ),
    Reader(
        name="import-bytecode",
        code="try:\n    import gone\n    VALUE = gone.VALUE\nexcept ImportError:\n    VALUE = 2\n\ndef value():\n    return VALUE\n",
        write=bytecode,
        told="{}/gone.py is gone",
    ),
    Reader(
        name="import-unseen",
        code="import quiet\n\ndef value():\n    return quiet.VALUE\n",
        write=lambda folder, number: quietly(folder / "quiet.py", MODULE.format(number)),
        told="{}/quiet.py changed",
    ),
    Reader(
        name="import-path-entry",
        code="import editable_by_path\n\ndef value():\n    return editable_by_path.VALUE\n",
        write=lambda folder, number: text("editable_by_path", "__init__.py", form=MODULE)(
            folder.parent.parent / "editable", number
        ),
        told="/editable/editable_by_path/__init__.py changed",
    ),
    Reader(
        name="import-finder",
        code="""
import importlib.util, sys

class Finder:
    # What setuptools puts in site-packages for an editable install.
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "editable_by_finder":
            place = HERE.parent.parent / "outside" / "import-finder" / "editable_by_finder.py"
            return importlib.util.spec_from_file_location(name, place)

sys.meta_path.append(Finder)

def value():
    import editable_by_finder
    return editable_by_finder.VALUE
""",
        write=lambda folder, number: text("editable_by_finder.py", form=MODULE)(
            outside(folder), number
        ),
        told="/outside/import-finder/editable_by_finder.py changed",
    ),
    Reader(
        name="import-plugins",
        code=(
            "import importlib, pkgutil, plugins\n\ndef value():\n    found = pkgutil.iter_modules(plugins.__path__)\n"
            "    return sum(importlib.import_module(f'plugins.{item.name}').VALUE for item in found)\n"
        ),
        write=lambda folder, number: [
            text("plugins", "__init__.py", form="")(folder, 1),
            text("plugins", f"plugin_{number}.py", form="VALUE = 1")(folder, number),
        ],
        told="what the folder {}/plugins holds changed",
    ),
    Reader(
        name="import-earlier-entry",
        code=(
            "import sys\nsys.path[:0] = [str(HERE / 'overrides'), str(HERE / 'defaults')]\nimport chosen\n\n"
            "def value():\n    return chosen.VALUE\n"
        ),
        write=lambda folder, number: text(
            "defaults" if number == 1 else "overrides", "chosen.py", form=MODULE
        )(folder, number),
        told="{}/overrides appeared",
    ),
]


FILES = [
    Reader(
        name="numpy-load",
        code="import numpy\n\ndef value():\n    return numpy.load(HERE / 'a.npy')[0]\n",
        write=lambda folder, number: np.save(folder / "a.npy", np.array([number])),
        told="{}/a.npy changed",
    ),
    Reader(
        name="numpy-mapped",
        code="import numpy\n\ndef value():\n    return numpy.load(HERE / 'a.npy', mmap_mode='r')[0]\n",
        write=lambda folder, number: np.save(folder / "a.npy", np.array([number])),
        told="{}/a.npy changed",
    ),
    Reader(
        name="numpy-archive",
        code="import numpy\n\ndef value():\n    with numpy.load(HERE / 'a.npz') as file:\n        return file['a'][0]\n",
        write=lambda folder, number: np.savez(folder / "a.npz", a=np.array([number])),
        told="{}/a.npz changed",
    ),
    Reader(
        name="numpy-memmap",
        code="import numpy\n\ndef value():\n    return numpy.memmap(HERE / 'a.bin', 'int64', 'r')[0]\n",
        write=lambda folder, number: np.array([number]).tofile(folder / "a.bin"),
        told="{}/a.bin changed",
    ),
    Reader(
        name="numpy-fromfile",
        code="import numpy\n\ndef value():\n    return numpy.fromfile(str(HERE / 'a.bin'), 'int64')[0]\n",
        write=lambda folder, number: np.array([number]).tofile(folder / "a.bin"),
        told="{}/a.bin changed",
    ),
    Reader(
        name="safetensors-numpy",
        code="from safetensors.numpy import load_file\n\ndef value():\n    return load_file(HERE / 'a.safetensors')['a'][0]\n",
        write=lambda folder, number: save_tensors(folder / "a.safetensors", number),
        told="{}/a.safetensors changed",
    ),
    Reader(
        name="safetensors-torch",
        code="from safetensors.torch import load_file\n\ndef value():\n    return load_file(HERE / 'a.safetensors')['a'][0]\n",
        write=lambda folder, number: save_tensors(folder / "a.safetensors", number),
        told="{}/a.safetensors changed",
    ),
    Reader(
        name="safetensors-open",
        code="from safetensors import safe_open\n\ndef value():\n    with safe_open(HERE / 'a.safetensors', 'np') as file:\n        return file.get_tensor('a')[0]\n",
        write=lambda folder, number: save_tensors(folder / "a.safetensors", number),
        told="{}/a.safetensors changed",
    ),
    Reader(
        name="torch-load",
        code="import torch\n\ndef value():\n    return torch.load(HERE / 'a.pt', weights_only=True)['a'][0]\n",
        write=lambda folder, number: save_torch(folder / "a.pt", number),
        told="{}/a.pt changed",
    ),
    Reader(
        name="torch-mapped",
        code="import torch\n\ndef value():\n    return torch.load(str(HERE / 'a.pt'), weights_only=True, mmap=True)['a'][0]\n",
        write=lambda folder, number: save_torch(folder / "a.pt", number),
        told="{}/a.pt changed",
    ),
    Reader(
        name="json",
        code="import json\n\ndef value():\n    with open(HERE / 'a.json') as file:\n        return json.load(file)['a']\n",
        write=text("a.json", form='{{"a": {}}}'),
        told="{}/a.json changed",
    ),
    Reader(
        name="mmap",
        code="import mmap\n\ndef value():\n    with open(HERE / 'a.txt', 'rb') as file:\n        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)[:1]\n",
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="unseen",
        code="def value():\n    return (HERE / 'a.txt').read_text()\n",
        write=lambda folder, number: quietly(folder / "a.txt", str(number)),
        told="{}/a.txt changed",
    ),
    Reader(
        name="listing",
        code="import os\n\ndef value():\n    return len(os.listdir(HERE / 'images'))\n",
        write=lambda folder, number: text("images", f"{number}.png")(folder, number),
        told="what the folder {}/images holds changed",
    ),
    Reader(
        name="walk",
        code="def value():\n    return len(list((HERE / 'images').rglob('*.png')))\n",
        write=lambda folder, number: text("images", "deep", f"{number}.png")(folder, number),
        told="what the folder {}/images/deep holds changed",
    ),
    Reader(
        name="link-target",
        code="def value():\n    return (HERE / 'current').read_text()\n",
        write=lambda folder, number: (
            link(folder, 1) if number == 1 else (folder / "v1").write_text("2")
        ),
        told="{}/current changed",
    ),
    Reader(
        name="link-retargeted",
        code="def value():\n    return (HERE / 'current').read_text()\n",
        write=link,
        told="{}/current changed",
    ),
    Reader(
        name="in-vain",
        code="def value():\n    place = HERE / 'overrides' / 'a.txt'\n    return place.read_text() if place.exists() else 1\n",
        write=lambda folder, number: number == 2 and text("overrides", "a.txt")(folder, number),
        told="{}/overrides/a.txt appeared",
    ),
    Reader(
        name="outside",
        code="def value():\n    return (HERE.parent.parent / 'outside' / HERE.name / 'a.txt').read_text()\n",
        write=lambda folder, number: text("a.txt")(outside(folder), number),
        told="/outside/outside/a.txt changed",
    ),
]


NATIVE = [
    Reader(
        name="native-onnx",
        code=(
            "import onnx\n\ndef value():\n    onnx.checker.check_model(str(HERE / 'm.onnx'))\n"
            "    return onnx.numpy_helper.to_array(onnx.load(HERE / 'm.onnx').graph.initializer[0])[0]\n"
        ),
        write=lambda folder, number: save_model(folder / "m.onnx", number),
        told="{}/m.onnx changed",
    ),
    Reader(
        name="native-onnxruntime",
        code=(
            "import onnxruntime\n\ndef value():\n"
            "    session = onnxruntime.InferenceSession(HERE / 'm.onnx', providers=['CPUExecutionProvider'])\n"
            "    return session.run(None, {})[0][0]\n"
        ),
        write=lambda folder, number: save_model(folder / "m.onnx", number),
        told="{}/m.onnx changed",
    ),
    Reader(
        name="native-sqlite",
        code=(
            "import sqlite3\n\ndef value():\n    database = sqlite3.connect(f'file:{HERE}/a.db?mode=ro', uri=True)\n"
            "    return database.execute('SELECT n FROM t').fetchone()[0]\n"
        ),
        write=lambda folder, number: save_database(folder / "a.db", number),
        told="{}/a.db changed",
    ),
    Reader(
        name="native-libc",
        code=(
            "import ctypes\n\ndef value():\n    libc = ctypes.CDLL(None)\n    libc.fopen.restype = ctypes.c_void_p\n"
            "    file = libc.fopen(str(HERE / 'a.txt').encode(), b'r')\n"
            "    return chr(libc.fgetc(ctypes.c_void_p(file)))\n"
        ),
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="native-program",
        code=(
            "import subprocess\n\ndef value():\n"
            "    return subprocess.run(['cat', HERE / 'a.txt'], capture_output=True, check=True).stdout\n"
        ),
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="native-shell",
        code="import os\n\ndef value():\n    with os.popen(f'cat {HERE}/a.txt') as output:\n        return output.read()\n",
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="native-through-link",
        code=(
            "import subprocess\n\ndef value():\n"
            "    return subprocess.run(['cat', HERE / 'current'], capture_output=True, check=True).stdout\n"
        ),
        write=link,
        told="{}/current changed",
    ),
    Reader(
        name="native-linked-folder",
        code=(
            "import subprocess\n\ndef value():\n"
            "    return subprocess.run(['cat', HERE / 'data' / 'deep' / 'a.txt'], capture_output=True, check=True).stdout\n"
        ),
        write=linked_folder,
        told="{}/data/deep/a.txt changed",
    ),
    Reader(
        name="native-isolated-python",
        code=(
            "import subprocess, sys\n\ndef value():\n    code = f'print(open(\"{HERE}/a.txt\").read())'\n"
            "    return subprocess.run([sys.executable, '-I', '-c', code], capture_output=True, check=True).stdout\n"
        ),
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="native-bare-python",
        code=(
            "import subprocess, sys\n\ndef value():\n    code = f'print(open(\"{HERE}/a.txt\").read())'\n"
            "    return subprocess.run([sys.executable, '-c', code], env={}, capture_output=True, check=True).stdout\n"
        ),
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="sqlite-log",
        code=(
            "import sqlite3\n\ndef value():\n    database = sqlite3.connect(f'file:{HERE}/a.db?mode=ro', uri=True)\n"
            "    return database.execute('SELECT max(n) FROM t').fetchone()[0]\n"
        ),
        write=write_ahead,
        told="{}/a.db-wal changed",
    ),
    Reader(
        name="python-module",
        code=(
            "import subprocess, sys\n\ndef value():\n"
            "    return subprocess.run([sys.executable, '-m', 'tool'], cwd=HERE, capture_output=True, check=True).stdout\n"
        ),
        write=text("tool.py", form="print({})"),
        told="{}/tool.py changed",
    ),
    Reader(
        name="zip-import",
        code="import sys\nsys.path.insert(0, str(HERE / 'a.zip'))\nimport zipped\n\ndef value():\n    return zipped.VALUE\n",
        write=zipped,
        told="{}/a.zip changed",
    ),
    Reader(
        name="resource",
        code="import importlib.resources, own\n\ndef value():\n    return (importlib.resources.files(own) / 'a.txt').read_text()\n",
        write=lambda folder, number: [
            text("own", "__init__.py", form="")(folder, 1),
            text("own", "a.txt")(folder, number),
        ],
        told="{}/own/a.txt changed",
    ),
    Reader(
        name="size",
        code="import os\n\ndef value():\n    return os.path.getsize(HERE / 'a.txt')\n",
        write=lambda folder, number: (folder / "a.txt").write_text("x" * number),
        told="{}/a.txt changed",
    ),
    Reader(
        name="pool",
        code=(
            "from concurrent.futures import ProcessPoolExecutor\n\ndef read(path):\n    return path.read_text()\n\n"
            "def value():\n    with ProcessPoolExecutor(1) as pool:\n        return pool.submit(read, HERE / 'a.txt').result()\n"
        ),
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
    Reader(
        name="thread",
        code=(
            "from concurrent.futures import ThreadPoolExecutor\n\n"
            "def value():\n    with ThreadPoolExecutor(1) as pool:\n        return pool.submit((HERE / 'a.txt').read_text).result()\n"
        ),
        write=text("a.txt"),
        told="{}/a.txt changed",
    ),
]


READERS = [*IMPORTS, *FILES, *NATIVE]


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """The project after its first build."""
    base = tmp_path_factory.mktemp("readers")
    make(base, READERS)
    with Builder(base, READERS) as builder:
        assert len(builder.build()) == len(READERS)
        yield builder


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_an_edit_reruns_what_depends_on_it(builder, reader):
    """That step alone, with the new number; `explain` names the file before; undoing and redoing run nothing."""
    assert builder.build() == []
    builder.remember()
    known = builder.recall()

    with builder.kept(reader.name) as folder:
        reader.write(folder, 2)
        settle(folder)
        told = builder.explain()
        remembered = builder.recall()
        ran = builder.build()
        value = builder.value(reader.name)
    undone = builder.build()

    assert known == "known"
    assert remembered is None
    assert list(told) == [reader.name]
    assert any(cause.endswith(reader.told.format(reader.name)) for cause in told[reader.name])
    assert (ran, value) == ([reader.name], 2)
    assert (undone, builder.value(reader.name)) == ([], 1)
    assert builder.recall() == "known"
    with builder.kept(reader.name) as folder:
        reader.write(folder, 2)
        settle(folder)
        assert builder.build() == []
