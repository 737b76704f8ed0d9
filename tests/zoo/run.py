"""Build the zoo, call the libraries plainly on the same models, check both, write ``docs/zoo.md``.

``python -m zoo.run [ONLY] [--minutes N] [--page] [--built]``; ONLY is names with commas between. What has not changed comes
from the store, and from ``build/zoo`` for checks and plain calls; no more of these are made after N minutes. With
``--page`` the page is written whatever ONLY is, and says what was not reached; with ``--built`` nothing is built, and
what the last build said is taken from ``build/zoo/built.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from zoo import plain
from zoo.apart import ApartError, apart
from zoo.check import check
from zoo.subject import HERE, MODELS, RECIPES, Subject, answers, load, names
from zoo.table import write_table

ROOT = os.path.dirname(os.path.dirname(HERE))
FOLDER = os.path.join(ROOT, "build", "zoo")
BUILT = os.path.join(FOLDER, "built.json")
ARTIFACTS = os.path.join(FOLDER, "artifacts")
STEP_SECONDS = 300
VARIANTS = {"export": "fp32", "fp16": "fp16", "int8": "int8"}
FAMILIES = (
    "encoders", "decoders", "translators", "audio", "sights", "pictures", "painters", "recurrences", "others",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run it all. Gives 1 where something published is wrong, or a goal is missed on the whole zoo."""
    parser = argparse.ArgumentParser(prog="zoo.run")
    parser.add_argument("only", nargs="?", default="")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--built", action="store_true")
    asked = parser.parse_args(arguments)
    end = time.monotonic() + 60 * asked.minutes
    wanted = names(asked.only)
    os.makedirs(os.path.join(FOLDER, "plain"), exist_ok=True)
    warm()
    built = read_built() if asked.built else build(wanted)
    rows: dict[str, dict[str, Any]] = {name: {"name": name} for name in names() if asked.page}
    for number, name in enumerate(wanted, 1):
        say(f"{number}/{len(wanted)} {name}")
        rows[name] = look(name, built, end)
    is_page = asked.page or wanted == names()
    path = os.path.join(ROOT, "docs", "zoo.md") if is_page else os.path.join(FOLDER, "zoo.md")
    return write_table(path, list(rows.values()))


def warm() -> None:
    """Import once what the processes to come would each import. Nothing computes before they are forked."""
    importlib.import_module("transformers.modeling_utils")
    importlib.import_module("transformers.masking_utils")
    for family in FAMILIES:
        load(family)


def say(words: str) -> None:
    """Tell whoever waits."""
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def build(wanted: Sequence[str]) -> dict[str, Any]:
    """Build the recipes with the command, one after the other in one store, and give what it says."""
    recipes = [os.path.join(RECIPES, f"{name}.yaml") for name in wanted]
    command = [
        sys.executable, "-m", "onnxbuild", "run", "--keep-going", "--json", "--jobs", "1", *recipes,
        f"settings.artifacts={os.path.relpath(ARTIFACTS, ROOT)}",
        f"settings.store={os.path.relpath(os.path.join(FOLDER, 'store'), ROOT)}",
        f"settings.timeout={STEP_SECONDS}",
    ]  # fmt: skip
    say(f"building {len(wanted)} recipes")
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        raise SystemExit(f"onnxbuild ended with {done.returncode} and said nothing")
    said: dict[str, Any] = json.loads(done.stdout)
    with open(BUILT, "w", encoding="utf-8") as file:
        json.dump(said, file, indent=1)
    return said


def read_built() -> dict[str, Any]:
    """Give what the last build said."""
    with open(BUILT, encoding="utf-8") as file:
        return dict(json.load(file))


def look(name: str, built: Mapping[str, Any], end: float) -> dict[str, Any]:
    """Give all there is to say of one architecture; after `end` no plain calls but those that are remembered."""
    subject = Subject(name)
    row: dict[str, Any] = {"name": name, "static": subject.is_static}
    try:
        known = apart(answers, subject)
    except ApartError as error:
        row["error"] = str(error)
        return row
    row["onnxbuild"] = look_at_published(name, known, built)
    row["plain"] = remembered(
        name, lambda: look_at_plain(subject, known), only_known=time.monotonic() > end
    )
    return row


def look_at_published(name: str, known: Any, built: Mapping[str, Any]) -> dict[str, Any]:
    """Check what onnxbuild has published, and say why the rest is not there."""
    found: dict[str, Any] = {}
    published = {
        item["variant"]: item
        for recipe in built["recipes"]
        if recipe["name"] == name
        for item in recipe["published"]
    }
    for variant, precision in VARIANTS.items():
        said = published.get(variant)
        if said is None:
            found[variant] = {"published": False, "why": why(name, variant, built)}
            continue
        path = os.path.join(ROOT, said["path"])
        found[variant] = {
            "published": True,
            "bytes": said["bytes"],
            **remembered(
                f"{name}-{variant}",
                partial(tested, path, known, precision),
                folder=os.path.dirname(path),
            ),
        }
    return found


def why(name: str, variant: str, built: Mapping[str, Any]) -> str:
    """Give the error that kept a variant from being published: its own gate, its own step, or one before."""
    said = [error["what"] for error in built["errors"]]
    gates = [what for what in said if what.startswith(f"{name}/{variant} ")]
    steps = [what for what in said if name in what.partition(": ")[0].split(", ")]
    own = [what for what in steps if variant in what.partition(": ")[2].partition(": ")[0]]
    return next(iter(gates or own or steps), "not built")


def look_at_plain(subject: Subject, known: Any) -> dict[str, Any]:
    """Export with both exporters, convert and quantize what is right, each apart."""
    folder = os.path.join(FOLDER, "plain", subject.name)
    os.makedirs(folder, exist_ok=True)
    found: dict[str, Any] = {}

    def attempt(key: str, precision: str, make: Callable[..., None], *values: Any) -> str:
        path = os.path.join(folder, f"{key}.onnx")
        try:
            apart(make, *values, path)
        except ApartError as error:
            found[key] = {"made": False, "wrong": str(error)}
            return ""
        found[key] = {"made": True, "bytes": plain.size(path), **tested(path, known, precision)}
        return "" if found[key]["wrong"] else path

    exported = [
        attempt("dynamo", "fp32", plain.dynamo, subject),
        attempt("torchscript", "fp32", plain.torchscript, subject),
    ]
    source = next((path for path in exported if path), "")
    found["source"] = os.path.basename(source).removesuffix(".onnx")
    if source:
        attempt("fp16", "fp16", plain.half, source)
        attempt("int8", "int8", plain.integers, subject, source)
    return found


def tested(path: str, known: Any, precision: str) -> dict[str, Any]:
    """Check a model in a process that may crash."""
    try:
        return dict(apart(check, path, known, precision))
    except ApartError as error:
        return {"loads": False, "wrong": str(error)}


def remembered(
    name: str, look: Callable[[], dict[str, Any]], *, folder: str = "", only_known: bool = False
) -> dict[str, Any]:
    """Give what was found for the same recipe, models and code, and the same files in `folder`."""
    digest = hashlib.sha256()
    sources = [os.path.join(RECIPES, f"{name.partition('-')[0]}.yaml")]
    for place in (MODELS, HERE):
        sources += [os.path.join(place, one) for one in os.listdir(place) if one.endswith(".py")]
    sources = [one for one in sources if os.path.basename(one) not in {"run.py", "table.py"}]
    if folder:
        sources += [os.path.join(folder, one) for one in os.listdir(folder) if ".onnx" in one]
    for path in sorted(sources):
        with open(path, "rb") as file:
            digest.update(file.read())
    path = os.path.join(FOLDER, "plain", f"{name}-{digest.hexdigest()[:16]}.json")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            return dict(json.load(file))
    if only_known:
        return {}
    found = look()
    with open(path, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
