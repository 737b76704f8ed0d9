"""The sections of a recipe: the single truth for its schema, reference, canonical form and keys.

The docstring under each field is its documentation. A trailing underscore (``from_``) is not part
of the key. Short forms are written out before these classes are built, see
`onnxbuild.recipe.canonical`. Paths and callables are relative to the recipe's folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from onnxbuild.core.quantities import AGE, SIZE
from onnxbuild.recipe.rule import Rule
from onnxbuild.recipe.stage import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the JSON Schema says of a value beside its type."""

    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None


Entry: TypeAlias = Annotated[str, "entry"]
"""A callable: ``path/file.py:name`` or ``package.module:name``."""

Path: TypeAlias = Annotated[str, "path"]
"""A file or folder, relative to the recipe's folder."""

DataName: TypeAlias = Annotated[str, "data"]
"""The name of an entry of ``data:``."""

StageName: TypeAlias = Annotated[str, "stage"]
"""The name of a stage, or ``export``."""

DType: TypeAlias = Literal[
    "float32", "float64", "float16", "bfloat16",
    "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64", "bool",
]  # fmt: skip

AtLeastOne: TypeAlias = Annotated[int, Limits(minimum=1)]
Share: TypeAlias = Annotated[float, Limits(minimum=-1, maximum=1)]
NotNegative: TypeAlias = Annotated[float, Limits(minimum=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Where the model's weights come from."""

    path: Path
    """A ``.safetensors`` file, or a ``.pt``/``.pth``/``.bin`` file, which is read with ``weights_only``."""

    key: str | None = None
    """Where in a nested checkpoint the state dict is, with dots: ``state.model``."""

    strip_prefix: str | None = None
    """Taken off the start of each name that has it: ``module.``."""

    strict: bool = True
    """Missing and unexpected tensors are errors. Wrong shapes always are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The model: exactly one of ``entry``, ``onnx``, ``program``, ``huggingface``."""

    entry: Entry | None = None
    """A callable that returns an ``nn.Module``, or an ``nn.Module`` class."""

    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``entry``."""

    weights: Weights | None = None
    """Weights to load into the module. A bare path is short for ``{path: …}``."""

    onnx: Path | None = None
    """Start from an ONNX file instead."""

    program: Path | None = None
    """Start from a program that ``torch.export.save`` wrote (``.pt2``)."""

    huggingface: Path | None = None
    """Start from a folder that ``transformers`` saved (extra ``huggingface``)."""

    wrap: Entry | None = None
    """An ``nn.Module`` class around the model, for processing before or after it; in the reference too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One input of the model. Without a source of values, normal noise (integers: zeros and ones)."""

    shape: tuple[Annotated[int, Limits(minimum=0)] | str, ...]
    """The example. A name is a dynamic dimension, as in ``dynamic_axes``; so is an expression: ``past + sequence``."""

    dtype: DType = "float32"
    """The type of its elements."""

    range: tuple[float, float] | None = None
    """Values are drawn evenly from ``[low, high)``."""

    fill: bool | int | float | None = None
    """All values are this."""

    values: Entry | None = None
    """``function(shape, generator)`` gives them, from a seeded numpy ``Generator``; ``(shape, generator, *, past)`` too."""

    data: DataName | None = None
    """The values are the rows of this data entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputUse:
    """What becomes of one output, where ``outputs`` is a mapping."""

    feeds: str | None = None
    """The input that it becomes when tokens are decoded: the next cache, or, of logits, the next token."""

    expand: str | None = None
    """Names that this entry stands for, each after its own name and a dot: ``{0..3}.{key,value}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dim:
    """Bounds of a dynamic dimension. Verification visits them."""

    min: Annotated[int, Limits(minimum=0)] | None = None
    """The least size; 1 if left out."""

    max: AtLeastOne | None = None
    """The largest size; 2n + 1 for an example of n if left out."""

    example: AtLeastOne | None = None
    """The size that stands for a name in a shape; else 2 or ``min``."""

    multiple_of: AtLeastOne = 1
    """Sizes are multiples of this: of the patch size, say. No other one is tried."""

    verify: tuple[Annotated[int, Limits(minimum=0)], ...] = ()
    """Sizes to visit besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """How the PyTorch model becomes an ONNX graph; see ``torch.onnx.export``."""

    opset: Annotated[int, Limits(minimum=7, maximum=25)] | Literal["auto"] | None = None
    """The version of the ONNX operator set. The file has this one, or the build fails. 18 if left out; a model
    that starts from an ONNX file keeps its own then. ``auto`` is the highest that the target runs."""

    exporter: Literal["auto", "dynamo", "torchscript"] = "auto"
    """``dynamo`` (opset 18 and up), ``torchscript`` (9 to 23), or ``auto``: dynamo first where it honours
    the opset, else TorchScript; then the other (below 18 converted from dynamo's 18), and at last dynamo in strict
    mode, where what went before fails, fixes a dynamic dimension or gives other numbers. Each attempt is a step,
    and kept."""

    constant_folding: bool = True
    """Compute at build time what depends on constants alone."""

    export_params: bool = True
    """Keep the weights in the file. False publishes the graph without them: they become its last inputs."""

    keep_initializers_as_inputs: bool = False
    """Make the weights inputs of the graph too, after the model's own, as IR version 3 needed."""

    custom_opsets: Mapping[str, int] = field(default_factory=dict)
    """Versions of operator sets of other domains. TorchScript only."""

    strict: bool = False
    """Trace with TorchDynamo's strict mode, which follows Python more closely. Dynamo only."""

    auto_rules: bool = True
    """Have built-in rules step in for operators that an exporter cannot translate; build.json says which did."""

    ir_version: Annotated[int, Limits(minimum=3)] | None = None
    """The version of the file format; the exporter's own if left out."""

    external_data: Literal["auto", "always", "never"] = "auto"
    """Write the weights of published models beside the graph: only where one file cannot hold them, always,
    or never (then a model of 2 GB and more is an error)."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    """Written into the model's ``metadata_props``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRuntime:
    """What the published models are to run on. Bounds their opset and the version of the file format."""

    onnxruntime: str | None = None
    """A release of onnxruntime, in quotes: ``"1.16"``. Left out, ``opset: auto`` goes by the one installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataEntry:
    """Data of the user's: ``entry`` or ``path``. Each item is a dict of arrays: inputs, and labels besides."""

    entry: Entry | None = None
    """A callable that yields dicts of arrays, by the names of the model's inputs; other keys are labels."""

    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of ``entry``."""

    path: Path | None = None
    """An ``.npz`` file, or a folder: of ``.npz`` files, an item each, or of ``.npy`` files, an input's items each."""

    samples: AtLeastOne | None = None
    """Take this many items at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUse:
    """One entry under ``stages:``, its options read."""

    from_: StageName
    """What it starts from: another stage, or ``export``."""

    use: str
    """Which stage it is, or the callable of a stage of the user's own."""

    stage: Stage
    """Its options."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an output may be from PyTorch's. All that is given must hold."""

    rtol: NotNegative | None = None
    """With ``atol``, as in ``numpy.allclose``."""

    atol: NotNegative | None = None
    """With ``rtol``, as in ``numpy.allclose``."""

    scaled: NotNegative | None = None
    """The largest error over the largest value of the reference."""

    cosine: Share | None = None
    """Cosine of the angle between output and reference, over all samples of a shape: at least this."""

    scaled_per_channel: NotNegative | None = None
    """The largest error of a channel over its largest value, along axis 1 and the last; a gate beside the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify(Tolerance):
    """What a published variant must meet. What is given replaces the defaults of its precision."""

    outputs: Mapping[str, Tolerance] = field(default_factory=dict)
    """Tolerances of single outputs."""

    metric: Entry | None = None
    """``metric(pairs) -> float`` or ``{name: float}``; ``pairs`` yields (outputs, batch) over ``data``."""

    data: DataName | None = None
    """What the metric is measured on."""

    goal: Literal["max", "min"] = "max"
    """Whether a higher or a lower metric is better."""

    max_drop: NotNegative | None = None
    """By how much the metric may be worse than PyTorch's, absolutely."""

    at_least: float | None = None
    """The metric must reach this (with ``goal: min``, stay at or below it)."""

    generate: AtLeastOne | None = None
    """Decode this many tokens greedily, with PyTorch and with the variant: they must agree."""

    min_agreement: Annotated[float, Limits(minimum=0, maximum=1)] | None = None
    """The share of these tokens that must agree; all if left out."""

    max_size_ratio: NotNegative | None = None
    """Bytes of the model over bytes of the exported one, at most."""

    min_speedup: NotNegative | None = None
    """Latency of the exported model over that of this one, at least."""

    max_size_ratio_to_source: NotNegative | None = None
    """Bytes of the model over bytes of the one that its stage starts from (``from``), at most."""

    min_speedup_over_source: NotNegative | None = None
    """Latency of the model that its stage starts from over that of this one, at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """How much the store may keep. See ``onnxbuild cache gc``, which does the same when called."""

    max_size: Annotated[str, Limits(pattern=SIZE)] | None = None
    """The store's size above which results go, those first that are least worth their bytes: ``20GB``."""

    older_than: Annotated[str, Limits(pattern=AGE)] | None = None
    """The time after which results go that served no build: ``30d``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where and how a build runs. Changes no result and is in no key."""

    store: Path | None = None
    """Folder of the store; ``.onnxbuild`` in the project root if left out. ``$ONNXBUILD_STORE`` beats both."""

    artifacts: Path = "artifacts"
    """Folder of the published models, relative to the project root."""

    executor: str = "process"
    """Where steps run: ``process`` (workers forked from a warm server) or ``inline``."""

    jobs: AtLeastOne | None = None
    """Steps that run at once; the number of cores if left out."""

    keep_going: bool = False
    """After a failure, still run what does not depend on it."""

    timeout: NotNegative | None = None
    """Seconds that a step may take."""

    forecast: bool = True
    """Refuse, before it starts, what took more memory or disk when it last ran than this machine has."""

    gc: Collecting | None = None
    """Collect the store by itself, at the end of each build that ran a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole recipe in canonical form."""

    name: Annotated[str, Limits(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Names the folder of the published models. The recipe file's name if left out."""

    model: Model
    """The model."""

    inputs: Mapping[str, Input] = field(default_factory=dict)
    """The inputs by name, in ``forward()`` order; required but for ONNX files and programs. ``batch.dense`` is a part of ``batch``."""

    constants: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``forward()`` that are no tensors, fixed in the graph. The same as ``{value: …}`` in ``inputs``."""

    description: str = ""
    """For people; written into the model's doc string and the report."""

    outputs: tuple[str, ...] | None = None
    """Names of the outputs, in their order, or some of the model's own. In a mapping each may say what it ``feeds``."""

    feeds: Mapping[str, str] = field(default_factory=dict)
    """By output, the input that it becomes when tokens are decoded. The same as ``{feeds: …}`` in ``outputs``."""

    dynamic_axes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By input or output: axis -> name of its dimension, or an expression of names."""

    dims: Mapping[str, Dim] = field(default_factory=dict)
    """Bounds of the dynamic dimensions."""

    export: Export = field(default_factory=Export)
    """How it is exported."""

    target: TargetRuntime = field(default_factory=TargetRuntime)
    """What the published models are to run on."""

    replace: Mapping[str, Rule] = field(default_factory=dict)
    """Replacement rules, in order."""

    data: Mapping[str, DataEntry] = field(default_factory=dict)
    """Calibration and evaluation data."""

    stages: Mapping[str, StageUse] = field(default_factory=dict)
    """Lightweighting stages."""

    verify: Mapping[str, Verify] = field(default_factory=dict)
    """Gates by variant, or ``default``."""

    publish: tuple[StageName, ...] = ()
    """Which variants are published: stages, or ``export``. What no stage starts from if left out."""

    pass_env: tuple[str, ...] = ()
    """Environment variables that the user's code may see. No other reaches a step."""

    roots: Mapping[str, str] = field(default_factory=dict)
    """Named folders outside the project, whose files are recorded relative to them."""

    settings: Settings = field(default_factory=Settings)
    """Where and how the build runs."""

    folder: str = ""
    """The recipe's folder, relative to the project root. Not a key of the file."""

    def verify_of(self, variant: str) -> Verify:
        """Give the gates of a variant: its own, else ``default``."""
        return self.verify.get(variant) or self.verify.get("default") or Verify()
