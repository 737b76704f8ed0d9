"""The script that people write by hand: ResNet-18 in five variants, each compared with PyTorch.

Does in one process what ``recipes/resnet18.yaml`` asks for, with the same libraries and at the same
shapes. ``python benchmarks/handwritten.py RECIPES OUT`` prints seconds by phase as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time

OPSET = 18
BATCH, SIDE = (1, 4), (32, 224)
TRACE, EXAMPLE = (2, 64, 96), (2, 64, 96)


def main() -> None:
    """Build and compare all variants."""
    started = time.perf_counter()
    seconds: dict[str, float] = {}

    def done(phase: str) -> None:
        nonlocal started
        seconds[phase] = round(time.perf_counter() - started, 2)
        started = time.perf_counter()

    recipes, out = sys.argv[1:3]
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    import numpy as np
    import onnx
    import onnxoptimizer
    import onnxruntime
    import torch
    from onnxconverter_common.float16 import convert_float_to_float16
    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

    sys.path.insert(0, os.path.join(recipes, "resnet18"))
    import data
    import model as resnet18

    done("import")

    path = {
        name: os.path.join(out, f"{name}.onnx")
        for name in ("export", "slim", "fp16", "int8_dynamic", "int8")
    }
    model = resnet18.build(seed=0)
    generator = np.random.default_rng(0)

    def images(shape: tuple[int, int, int]) -> np.ndarray:
        batch, height, width = shape
        return data.images((batch, 3, height, width), generator)

    dim = torch.export.Dim
    torch.onnx.export(
        model,
        (torch.from_numpy(images(TRACE)),),
        path["export"],
        dynamo=True,
        opset_version=OPSET,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=(
            {
                0: dim("batch", min=BATCH[0], max=BATCH[1]),
                2: dim("height", min=SIDE[0], max=SIDE[1]),
                3: dim("width", min=SIDE[0], max=SIDE[1]),
            },
        ),
        external_data=False,
        verbose=False,
    )
    done("export")
    onnx.save(onnxoptimizer.optimize(onnx.load(path["export"]), fixed_point=True), path["slim"])
    done("onnxoptimizer")
    onnx.save(convert_float_to_float16(onnx.load(path["slim"]), keep_io_types=True), path["fp16"])
    done("float16")
    quantize_dynamic(path["slim"], path["int8_dynamic"], per_channel=True)
    done("quantize_dynamic")

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.items = data.calibration()

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.items, None)

    quantize_static(path["slim"], path["int8"], Reader(), per_channel=True)
    done("quantize_static")

    shapes = [TRACE, EXAMPLE, EXAMPLE, *corners()]
    inputs = [images(shape) for shape in shapes]
    with torch.inference_mode():
        expected = [model(torch.from_numpy(image)).numpy() for image in inputs]
    worst = {}
    for name, file in path.items():
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        errors = [
            np.abs(session.run(None, {"image": image})[0] - logits).max() / np.abs(logits).max()
            for image, logits in zip(inputs, expected, strict=True)
        ]
        worst[name] = float(max(errors))
    done("verify")
    print(json.dumps({"seconds": seconds, "scaled": worst, "shapes": shapes}))


def corners() -> list[tuple[int, int, int]]:
    """All dims at their least, all at their most, each alone at either end."""
    low, high = (BATCH[0], SIDE[0], SIDE[0]), (BATCH[1], SIDE[1], SIDE[1])
    found = [low, high]
    for axis in range(len(EXAMPLE)):
        for end in (low, high):
            shape = list(EXAMPLE)
            shape[axis] = end[axis]
            found.append((shape[0], shape[1], shape[2]))
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    main()
