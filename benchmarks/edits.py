"""The matrix of edits: what reruns after each change, and whether ``explain`` had said so.

``python benchmarks/edits.py [--only WORD]``. Each edit starts from the same built project. A line is
right when every step that must rerun did, none that must not did, the published files changed where
they should and nowhere else, and going back ran nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from measure import HERE, onnxbuild, project, run, steps_that_ran
from safetensors.numpy import load_file, save_file

RECIPE = "small.yaml"
PACKAGE = "onnxbuild_bench_scale"
ALL = frozenset({"slim", "fp16", "int8"})
NONE: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change, and what follows from it."""

    name: str
    make: Callable[[Place], object]
    must: tuple[str, ...] = ()
    """Parts of labels: a step with each of these must rerun."""
    must_not: tuple[str, ...] = ()
    """No step with one of these in its label may rerun. Empty text: none at all."""
    changed: frozenset[str] = NONE
    """The published variants whose bytes change."""


@dataclass(frozen=True, slots=True)
class Place:
    """The project, and the interpreter that builds it."""

    folder: str
    python: str

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def read(self, name: str) -> str:
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def write(self, name: str, text: str) -> None:
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.read(name)
        assert old in text, f"{name} has no {old!r}"
        self.write(name, text.replace(old, new))


def scale_weights(place: Place) -> None:
    weights = load_file(place.path("small/weights.safetensors"))
    save_file(
        {**weights, "head.weight": weights["head.weight"] * 2},
        place.path("small/weights.safetensors"),
    )


def shift_images(place: Place) -> None:
    np.save(place.path("small/images.npy"), np.load(place.path("small/images.npy")) * 3)


def touch_all(place: Place) -> None:
    for folder, _, names in os.walk(place.path("small")):
        for name in names:
            os.utime(os.path.join(folder, name))


def edit_unseen(place: Place) -> None:
    """Change a module without changing its size or time of modification."""
    before = os.stat(place.path("small/layers.py"))
    place.replace("small/layers.py", "GAIN = 1.5", "GAIN = 2.5")
    os.utime(place.path("small/layers.py"), ns=(before.st_atime_ns, before.st_mtime_ns))


EXPORTED = ("export", "reference", "slim", "fp16", "observe", "verify")
DATA_FREE = ("calibration", "samples")
EDITS = (
    Edit(name="nothing", make=lambda _: None, must_not=("",)),
    Edit(name="weights", make=scale_weights, must=EXPORTED, must_not=DATA_FREE, changed=ALL),
    Edit(
        name="model file",
        make=lambda p: p.replace("small/model.py", "/ self.temperature", "/ self.temperature / 3"),
        must=EXPORTED, must_not=DATA_FREE, changed=ALL,
    ),
    Edit(
        name="a module that it imports",
        make=lambda p: p.replace("small/layers.py", "GAIN = 1.5", "GAIN = 1.25"),
        must=EXPORTED, must_not=DATA_FREE, changed=ALL,
    ),
    Edit(name="the same, same size and mtime", make=edit_unseen, must=EXPORTED, must_not=DATA_FREE, changed=ALL),
    Edit(
        name="a JSON file that it opens",
        make=lambda p: p.write("small/sizes.json", '{"temperature": 3.0}\n'),
        must=EXPORTED, must_not=DATA_FREE, changed=ALL,
    ),
    Edit(
        name="kwargs",
        make=lambda p: p.replace(RECIPE, "slope: 0.1", "slope: 0.2"),
        must=EXPORTED, must_not=DATA_FREE, changed=ALL,
    ),
    Edit(
        name="version of a library it imports",
        make=lambda p: install(p, "2.0", "3.0"),
        must=EXPORTED, must_not=DATA_FREE, changed=ALL,
    ),
    Edit(
        name="calibration data",
        make=shift_images,
        must=("calibration", "observe", "int8"), must_not=("export", "slim", "fp16"), changed=frozenset({"int8"}),
    ),
    Edit(
        name="data script",
        make=lambda p: p.replace("small/data.py", "SHIFT = 0.0", "SHIFT = 2.0"),
        must=("calibration", "observe", "int8"), must_not=("export", "slim", "fp16"), changed=frozenset({"int8"}),
    ),
    Edit(
        name="option of a stage",
        make=lambda p: p.replace(RECIPE, "reduce_range: false", "reduce_range: true"),
        must=("int8",), must_not=("export", "slim", "fp16", "calibration", "observe"), changed=frozenset({"int8"}),
    ),
    Edit(
        name="comment in the model file",
        make=lambda p: p.write("small/model.py", "# why not\n" + p.read("small/model.py")),
        must=("export", "reference"), must_not=("slim", "fp16", "int8", "verify", *DATA_FREE),
    ),
    Edit(
        name="comment in the data script",
        make=lambda p: p.write("small/data.py", "# why not\n" + p.read("small/data.py")),
        must=("calibration",), must_not=("export", "slim", "fp16", "int8", "verify"),
    ),
    Edit(
        name="comment in the recipe",
        make=lambda p: p.write(RECIPE, "# why not\n" + p.read(RECIPE)),
        must_not=("",),
    ),
    Edit(
        name="tolerance of a gate",
        make=lambda p: p.replace(RECIPE, "scaled: 0.5", "scaled: 0.6"),
        must_not=("",),
    ),
    Edit(
        name="unrelated file",
        make=lambda p: p.write("small/notes.txt", "a note"),
        must_not=("",),
    ),
    Edit(name="touch of every file", make=touch_all, must_not=("",)),
)  # fmt: skip


def main() -> None:
    """Build the project, make each edit, print the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="only edits with this in their name")
    only = parser.parse_args().only
    sources = os.path.join(HERE, "project")
    with project(os.path.join(sources, "small"), os.path.join(sources, RECIPE)) as folder:
        place = Place(folder, make_environment(folder))
        write_files(place)
        install(place, "1.0", "1.0")
        base = build(place)
        total = len(base["steps"])
        print(f"{RECIPE}: {total} steps; {len(steps_that_ran(base))} ran in the first build")
        print(f"{'edit':34} {'reran':>6}  {'files changed':18} {'explain':8} verdict")
        chosen = [edit for edit in EDITS if only in edit.name]
        wrong = sum(not try_edit(place, edit, base) for edit in chosen)
    print(f"{len(chosen) - wrong} of {len(chosen)} right")
    sys.exit(1 if wrong else 0)


def try_edit(place: Place, edit: Edit, base: dict) -> bool:
    """Make one edit, look at what follows, go back; print a line and say whether all was right."""
    before = snapshot(place)
    edit.make(place)
    said = announced(place)
    result = build(place)
    ran = steps_that_ran(result)
    changed = {name for name, digest in digests(result).items() if digests(base)[name] != digest}
    faults = [
        f"did not rerun {part}" for part in edit.must if not any(part in label for label in ran)
    ]
    faults += [f"reran {label}" for label in ran if any(part in label for part in edit.must_not)]
    if changed != edit.changed:
        faults.append(f"changed {sorted(changed)} instead of {sorted(edit.changed)}")
    unsaid = [label for label in ran if label not in said]
    if unsaid:
        faults.append(f"explain did not say {unsaid}")
    restore(place, before)
    back = build(place)
    again = [
        f"{step['label']} ({step['reason']})" for step in back["steps"] if step["status"] == "ran"
    ]
    if again:
        faults.append(f"going back reran {', '.join(again)}")
    if digests(back) != digests(base):
        faults.append("going back did not restore the files")
    files = ", ".join(sorted(changed)) or "none"
    print(
        f"{edit.name:34} {len(ran):6}  {files:18} {'no' if unsaid else 'yes':8} "
        + ("right" if not faults else "WRONG: " + "; ".join(faults))
    )
    for label in ran:
        print(f"    {label}")
    return not faults


def build(place: Place) -> dict:
    return run(onnxbuild("run", RECIPE, "--json", python=place.python), place.folder).json()


def announced(place: Place) -> set[str]:
    """Give the labels of the steps that ``explain`` says will or may run."""
    plan = run(onnxbuild("explain", RECIPE, "--json", python=place.python), place.folder).json()
    return {step["label"] for step in plan["steps"] if step["status"] != "cached"}


def digests(result: dict) -> dict[str, str]:
    return {item["variant"]: item["digest"] for item in result["recipes"][0]["published"]}


def snapshot(place: Place) -> dict[str, bytes]:
    """Keep the bytes of the project's own files."""
    found = {}
    for name in (RECIPE, *("small/" + name for name in os.listdir(place.path("small")))):
        if os.path.isfile(place.path(name)):
            with open(place.path(name), "rb") as file:
                found[name] = file.read()
    return found


def restore(place: Place, before: dict[str, bytes]) -> None:
    """Write back what changed, remove what was added."""
    for name in snapshot(place).keys() - before.keys():
        os.unlink(place.path(name))
    for name, content in before.items():
        with open(place.path(name), "rb") as file:
            same = file.read() == content
        if not same:
            with open(place.path(name), "wb") as file:
                file.write(content)
    install(place, "1.0", "1.0")


def write_files(place: Place) -> None:
    """Make the weights and the images of the project."""
    generator = np.random.default_rng(0)
    shapes = {
        "first.conv.weight": (16, 1, 3, 3), "first.conv.bias": (16,),
        "second.conv.weight": (32, 16, 3, 3), "second.conv.bias": (32,),
        "head.weight": (10, 32), "head.bias": (10,),
    }  # fmt: skip
    weights = {
        name: (generator.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
        for name, shape in shapes.items()
    }
    save_file(weights, place.path("small/weights.safetensors"))
    images = generator.normal(size=(32, 1, 12, 12)).astype(np.float32)
    np.save(place.path("small/images.npy"), images)


def make_environment(folder: str) -> str:
    """Make a virtual environment that also sees this interpreter's packages, and give its Python."""
    place = os.path.join(folder, ".venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = os.path.join(place, "bin", "python")
    ours = run(
        [sys.executable, "-c", "import site; print(*site.getsitepackages(), sep='\\n')"], folder
    )
    theirs = run([python, "-c", "import site; print(site.getsitepackages()[0])"], folder)
    with open(os.path.join(theirs.output.strip(), "parent.pth"), "w", encoding="utf-8") as file:
        file.writelines(
            f"import site; site.addsitedir({path!r})\n" for path in ours.output.splitlines()
        )
    return python


def install(place: Place, version: str, scale: str) -> None:
    """Install a version of the library that the model imports, with pip, from a wheel made here."""
    wheel = place.path(f".venv/{PACKAGE}-{version}-py3-none-any.whl")
    info = f"{PACKAGE}-{version}.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{PACKAGE}.py", f"SCALE = {scale}\n")
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(
            f"{info}/RECORD",
            f"{PACKAGE}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n",
        )
    command = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        place.python,
        "install",
        "-qq",
        "--no-index",
    ]
    run([*command, "--no-deps", "--disable-pip-version-check", wheel], place.folder)


if __name__ == "__main__":
    main()
