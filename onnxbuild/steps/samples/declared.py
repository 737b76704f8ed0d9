"""What a model takes, where it says so itself and the recipe does not: ONNX files, exported programs."""

from __future__ import annotations

from typing import get_args

from onnxbuild.errors import DataError, ModelError
from onnxbuild.recipe.schema import Dim, DType, Input
from onnxbuild.steps.samples.spec import SampleOptions

DTYPES: tuple[DType, ...] = get_args(DType)
ONNX_NAMES = {"float": "float32", "double": "float64"}


def read_inputs(options: SampleOptions) -> tuple[dict[str, Input], dict[str, Dim]]:
    """Read the inputs that the model declares, and bounds of their dims.

    Dynamic axes have names in their shapes.
    """
    if options.onnx is not None:
        return _from_onnx(options.onnx), {}
    if options.program is not None:
        from onnxbuild.steps.model.program import read_inputs as read_program

        return read_program(options.program)
    return {}, {}


def _from_onnx(path: str) -> dict[str, Input]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except FileNotFoundError as error:
        raise ModelError(f"there is no file {path}", where="model.onnx") from error
    except DecodeError as error:
        raise ModelError(f"{path} is no ONNX file, or is cut off", where="model.onnx") from error
    weights = {tensor.name for tensor in graph.initializer}
    found = {}
    for value in graph.input:
        if value.name in weights:
            continue
        tensor = value.type.tensor_type
        if not tensor.HasField("shape"):
            raise DataError(
                f"{path} does not say the shape of its input {value.name!r}",
                where="inputs",
                hint="declare the inputs in the recipe",
            )
        name = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
        shape = tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{value.name}_{axis}"
            for axis, dim in enumerate(tensor.shape.dim)
        )
        found[value.name] = _input(value.name, shape, ONNX_NAMES.get(name, name))
    return found


def _input(name: str, shape: tuple[int | str, ...], dtype: str) -> Input:
    for known in DTYPES:
        if dtype == known:
            return Input(shape=shape, dtype=known)
    raise DataError(
        f"the model's input {name!r} is of type {dtype}, for which no values can be made",
        where="inputs",
    )
