"""What a store costs: its size, and the time to check and to collect it, each against copying the same bytes.

``python benchmarks/store.py [--steps 10,100,1000] [--gigabytes 3]``: chains of stages of a tiny graph; ten sweeps of
ResNet-18 against its unique weights; and a made-up model of so many gigabytes, with the peak memory of its build.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

from cached import write_chain
from measure import RECIPES, median, onnxbuild, project, run, verdict

from onnxbuild.executors.family import find_family

SWEEPS = 1.2
"""Budget: bytes of the store over those of the unique weights, after ten sweeps of one model."""

BIG_MODEL = """
import sys
import numpy as np
import torch
from safetensors.numpy import save_file

size = int(float(sys.argv[1]) * 1e9 / (8 * 4))
side = int(size**0.5)
generator = np.random.default_rng(0)
save_file(
    {f"layers.{number}.weight": generator.standard_normal((side, side), dtype=np.float32) / side for number in range(8)},
    "weights.safetensors",
)
open("model.py", "w").write(f'''
import torch

def build():
    layers = [torch.nn.Linear({side}, {side}, bias=False) for _ in range(8)]
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(*layers)
        def forward(self, x):
            return self.layers(x)
    return Net()
''')
open("big.yaml", "w").write(f'''
name: big
model: {{entry: model.py:build, weights: weights.safetensors}}
inputs:
  x: {{shape: [batch, {side}]}}
outputs: [y]
dims: {{batch: {{min: 1, max: 4}}}}
export: {{external_data: auto}}
publish: [export]
''')
"""


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", default="10,100,1000", help="lengths of chains")
    parser.add_argument("--gigabytes", type=float, default=3.0, help="weights of the big model")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    print(
        f"{'chain':>8} {'steps':>6} {'no-op ms':>9} {'ratio':>6} {'store kB':>9} {'kB a step':>9}"
    )
    for steps in filter(None, options.steps.split(",")):
        measure_chain(int(steps), options.rounds)
    measure_sweeps()
    if options.gigabytes:
        measure_big(options.gigabytes)


def measure_chain(length: int, rounds: int) -> None:
    """Print the time of a run with everything cached, and the size of the store, for a chain."""
    with project() as folder:
        recipe = write_chain(folder, length)
        steps = len(run(onnxbuild("run", recipe, "--json"), folder).json()["steps"])
        command = onnxbuild("run", recipe)
        run(command, folder)
        base, cached = [], []
        for _ in range(rounds):
            base.append(run([sys.executable, "-c", "pass"], folder))
            cached.append(run(command, folder))
        size = run(onnxbuild("cache", "size", "--json"), folder).json()["bytes"]
        ratio = median(cached) / median(base)
        print(
            f"{length:8} {steps:6} {median(cached) * 1e3:9.1f} {ratio:6.2f} {size / 1e3:9.0f} {size / 1e3 / steps:9.1f}"
        )


def measure_sweeps() -> None:
    """Print the bytes of the store over those of the unique weights, after ten sweeps of ResNet-18."""
    parts = [os.path.join(RECIPES, name) for name in ("resnet18", "resnet18.yaml")]
    with project(*parts) as folder:
        run(
            onnxbuild(
                "run", "resnet18.yaml", "--only", "export", "-m", "publish=[export]",
                "export.opset=18,19,20,21,22", "export.constant_folding=true,false",
            ),
            folder,
        )  # fmt: skip
        measured = run(onnxbuild("cache", "size", "--json"), folder).json()
        store = os.path.join(folder, ".onnxbuild")
        weights = unique_weights(store)
        content = (
            measured["kinds"]["weights and data"]["bytes"] + measured["kinds"]["graphs"]["bytes"]
        )
        print(
            f"ten sweeps of resnet18: {measured['bytes'] / 1e6:.1f} MB, content {content / 1e6:.1f} MB,"
            f" unique weights {weights / 1e6:.1f} MB: {measured['bytes'] / weights:.2f}"
            f"  {verdict(measured['bytes'] / weights, SWEEPS)}"
        )


def unique_weights(store: str) -> int:
    """Give the bytes of all weights that graphs refer to, each once."""
    code = (
        "import os, sys\n"
        "from onnxbuild.stores.local import LocalStore\n"
        "store = LocalStore(sys.argv[1])\n"
        "traces = store.actions.all_traces()\n"
        "parts = {part for one in traces for item in one.results.values() for part in item.parts}\n"
        "print(sum(os.path.getsize(store.blob_path(part)) for part in parts))\n"
    )
    return int(run([sys.executable, "-c", code, store], os.path.dirname(store)).output)


def measure_big(gigabytes: float) -> None:
    """Print the peak memory of building a big model, and the time to check and collect its store, by copying."""
    with project() as folder:
        run([sys.executable, "-c", BIG_MODEL, str(gigabytes)], folder)
        anonymous, seconds = watch_memory(onnxbuild("run", "big.yaml", "--json"), folder)
        print(
            f"a model of {gigabytes:g} GB: built in {seconds:.0f} s, {anonymous / 1e9:.2f} GB of anonymous memory"
            f"  {verdict(anonymous / 1e9, 0.6 + 0.3 * gigabytes)}"
        )
        store = os.path.join(folder, ".onnxbuild")
        size = run(onnxbuild("cache", "size", "--json"), folder).json()["bytes"]
        began = time.perf_counter()
        shutil.copytree(store, os.path.join(folder, "copy"))
        copying = time.perf_counter() - began
        checking = run(onnxbuild("cache", "verify"), folder).seconds
        shutil.rmtree(os.path.join(folder, "artifacts"))
        collecting = run(onnxbuild("cache", "gc", "--max-size", "0B"), folder).seconds
        print(
            f"a store of {size / 1e9:.2f} GB: verify {checking / size * 1e9:.2f} s a GB ({checking / copying:.2f} of"
            f" copying it), gc of all of it {collecting / size * 1e9:.2f} s a GB ({collecting / copying:.2f})"
        )


def watch_memory(command: list[str], folder: str) -> tuple[int, float]:
    """Run a command; give the most anonymous memory that it and its children had at once, and the seconds."""
    began = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    most = 0
    while True:
        try:
            output, errors = child.communicate(timeout=0.05)
            break
        except subprocess.TimeoutExpired:
            most = max(most, sum(map(anonymous_bytes, find_family(child.pid))))
    if child.returncode:
        raise SystemExit(f"the build failed:\n{output.decode()}{errors.decode()}")
    json.loads(output)
    return most, time.perf_counter() - began


def anonymous_bytes(pid: int) -> int:
    """Give the anonymous memory of a process that no other shares."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file.read().splitlines()[1:] if ":" in line)
    except OSError:
        return 0
    return 1024 * int(lines.get("Pss_Anon", "0 kB").split()[0])


if __name__ == "__main__":
    main()
