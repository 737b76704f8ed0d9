"""Run a model over data and note between which values each activation lies."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.quantization import calibrate
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from onnxbuild.arrays import read_items
from onnxbuild.core.artifact import Artifact
from onnxbuild.core.ports import Work
from onnxbuild.core.values import build
from onnxbuild.errors import DataError, StageError
from onnxbuild.graph import quantization, sessions
from onnxbuild.graph.architecture import ALL, chosen, find_kind, static_operators
from onnxbuild.graph.feeds import Feeder
from onnxbuild.graph.load import read, scratch_copy
from onnxbuild.graph.names import check_names
from onnxbuild.stages.quantize_static.ranges import to_plain
from onnxbuild.stages.quantize_static.sizes import Seen, is_batched, lacking, resize
from onnxbuild.stages.quantize_static.spec import (
    CALIBRATION_OPTIONS,
    HALF_OPSET,
    QUANTIZER_OPTIONS,
    ObserveOptions,
)

Item = Mapping[str, npt.NDArray[Any]]

GROUP = 64
"""Items whose extremes are merged at once."""

CALIBRATERS = {
    "minmax": calibrate.MinMaxCalibrater,
    "entropy": calibrate.EntropyCalibrater,
    "percentile": calibrate.PercentileCalibrater,
    "distribution": calibrate.DistributionCalibrater,
}


def observe(work: Work) -> dict[str, Artifact]:
    """Note the ranges as plain numbers. The data are streamed: one item is in memory at a time."""
    options = build(ObserveOptions, work.options)
    known = sorted({*QLinearOpsRegistry, *QDQRegistry})
    model = read(work.input("model"))
    quantization.check_model(model, [], least_half=HALF_OPSET)
    quantization.check_fresh(model)
    _check(options, known)
    with scratch_copy(work) as path:
        calibrater = _make(path, options, known, work)
        feeder = Feeder(calibrater.infer_session)
        items = (
            feeder.feed(item, index) for index, item in enumerate(read_items(work.input("data")))
        )
        first = next(items, None)
        if first is None:
            raise DataError("the calibration data yield no item", hint="look at the data entry")
        seen = Seen(chain([first], items))
        _collect(calibrater, iter(seen), options)
        work.notes["items"] = feeder.count
        if "samples" in work.inputs() and not options.extra_options.get("CalibMovingAverage"):
            _collect_sizes(work, calibrater, options, seen)
        ranges = to_plain(calibrater.compute_data())
    work.notes["tensors"] = len(ranges["tensors"])
    return {"ranges": work.put_json(ranges)}


def _collect_sizes(work: Work, calibrater: Any, options: ObserveOptions, seen: Seen) -> None:
    """Show the library items of the data at the sizes of samples which the data lack."""
    takes = {value.name: value.shape for value in calibrater.infer_session.get_inputs()}
    samples = [
        {name: _sized(item[name].shape, shape) for name, shape in takes.items()}
        for item in read_items(work.input("samples"))
    ]
    batched = is_batched(samples)
    labels = [_label(shape) for shape in work.json("shapes")]
    added = []
    for index in lacking(seen, samples):
        items = (resize(item, samples[index], batched=batched) for item in seen.kept)
        try:
            _collect(calibrater, items, options)
        except StageError as error:
            # Indices into what was cut off, say: what the data show must do.
            print(f"not calibrated at {labels[index]}: {error.what}")  # noqa: T201
            continue
        added.append(labels[index])
    if added:
        work.notes["sizes_added"] = added
        print(f"calibrated at sizes that the data lack as well: {'; '.join(added)}")  # noqa: T201


def _sized(shape: tuple[int, ...], taken: list[int | str | None]) -> tuple[int, ...]:
    """Give a sample's shape with the sizes that the model has fixed."""
    return tuple(
        fixed if isinstance(fixed, int) else size for size, fixed in zip(shape, taken, strict=True)
    )


def _label(shape: Mapping[str, Any]) -> str:
    return ", ".join(f"{dim}={size}" for dim, size in shape["sizes"].items()) or str(shape["name"])


def _check(options: ObserveOptions, known: list[str]) -> None:
    if options.extra_options.get("SmoothQuant"):
        raise StageError(
            "SmoothQuant changes the model before it is observed, and is not offered",
            hint="leave it out of extra_options",
        )
    known_options = (*CALIBRATION_OPTIONS, *QUANTIZER_OPTIONS)
    check_names(options.extra_options, known_options, option="extra_options", what="option")
    check_names(
        options.calibration_providers,
        ort.get_available_providers(),
        option="calibration_providers",
        what="provider",
    )
    check_names(
        options.op_types_to_quantize,
        {*known, ALL},
        option="op_types_to_quantize",
        what="quantizable operator",
    )


def _make(path: str, options: ObserveOptions, known: list[str], work: Work) -> Any:
    """Make the library's calibrater, with a session of a constant number of threads."""
    augmented = os.path.join(work.folder, "augmented.onnx")
    arguments: dict[str, Any] = {}
    extra = options.extra_options
    if "CalibTensorRangeSymmetric" in extra and options.calibrate_method != "distribution":
        arguments["symmetric"] = extra["CalibTensorRangeSymmetric"]
    elif options.calibrate_method == "percentile":
        arguments["symmetric"] = True
    if options.calibrate_method == "minmax":
        arguments["moving_average"] = extra.get("CalibMovingAverage", False)
        arguments["averaging_constant"] = extra.get("CalibMovingAverageConstant", 0.01)
    if options.calibrate_method == "percentile" and "CalibPercentile" in extra:
        arguments["percentile"] = extra["CalibPercentile"]
    if options.calibrate_method == "distribution":
        arguments["num_bins"] = 2048
    model = read(path)
    usual = static_operators(find_kind(model), known)
    try:
        calibrater = CALIBRATERS[options.calibrate_method](
            Path(path),
            chosen(options.op_types_to_quantize, usual, known),
            augmented,
            use_external_data_format=quantization.weight_bytes(model) > quantization.LARGE,
            **arguments,
        )
        calibrater.augment_graph()
        settings = sessions.options()
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        calibrater.infer_session = ort.InferenceSession(
            augmented, settings, providers=list(options.calibration_providers)
        )
    except Exception as error:
        raise StageError(
            f"onnxruntime's calibration fails on this model: {sessions.readable(error)}",
            hint="try pre_process: true, or fewer `op_types_to_quantize`",
        ) from error
    return calibrater


class _Reader:
    """What the library wants to read items from."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items

    def get_next(self) -> Item | None:
        return next(self._items, None)


def _collect(calibrater: Any, items: Iterator[Item], options: ObserveOptions) -> None:
    """Show the items to the library in groups, since it keeps what it saw of a group in memory.

    Extremes are a few numbers for each item; a moving average means one group (or those of
    ``CalibStridedMinMax``); histograms need whole activations, so an item each.
    """
    extra = options.extra_options
    size: int | None = GROUP if options.calibrate_method == "minmax" else 1
    if options.calibrate_method == "minmax" and extra.get("CalibMovingAverage"):
        size = extra.get("CalibStridedMinMax")
    for item in items:
        rest = items if size is None else islice(items, size - 1)
        try:
            with warnings.catch_warnings():
                # An activation that is NaN throughout is an error further on, by name.
                warnings.filterwarnings("ignore", message="All-NaN", category=RuntimeWarning)
                calibrater.collect_data(_Reader(chain([item], rest)))
        except (DataError, StageError):
            raise
        except Exception as error:
            raise StageError(
                f"the model does not run on the calibration data: {sessions.readable(error)}",
                hint="each item must be what the model takes, with its batch axis",
            ) from error
