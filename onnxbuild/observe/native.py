"""Readers and writers that are native code, so that no hook of Python sees what they open.

Each is wrapped once its module is there; none of the modules is imported for that. A name that other
modules had taken before (``from safetensors import safe_open``) is replaced there too.
"""

from __future__ import annotations

import functools
import mmap
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from onnxbuild.core.facts import normalize
from onnxbuild.observe.record import Record
from onnxbuild.observe.scope import IGNORED, SITE, resolve
from onnxbuild.observe.switch import tell

_LOCATION = re.compile(rb"\x0a\x08location\x12")
"""How protobuf writes the key of an external tensor's file name; its length and text follow."""

known_modules = 0
"""How many modules there were when readers were last looked for."""


def wrap_loaded() -> None:
    """Wrap the readers of modules that have been imported since the last call."""
    global known_modules  # noqa: PLW0603  compared on every import, so it is one number
    if len(sys.modules) == known_modules:
        return
    known_modules = len(sys.modules)
    for name in list(_PENDING):
        module = sys.modules.get(name)
        if module is None:
            continue
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            # Look again at the end of its import, which may add no further module.
            known_modules = -1
            continue
        wrap = _PENDING.pop(name)
        wrap(module)


def reads(
    original: Any, position: int = 0, keyword: str = "", see: Callable[..., None] | None = None
) -> Any:
    """Wrap a function that reads the file named by its argument at `position`."""
    return _wrap(original, position, keyword, see or _read)


def writes(original: Any, position: int, keyword: str) -> Any:
    """Wrap a function that writes the file named by its argument at `position`."""
    return _wrap(original, position, keyword, _written)


def _wrap(original: Any, position: int, keyword: str, see: Callable[..., None]) -> Any:
    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        path = args[position] if len(args) > position else kwargs.get(keyword)
        if isinstance(path, str | bytes | os.PathLike):
            tell(see, path)
        return original(*args, **kwargs)

    return wrapped


def _read(record: Record, path: Any) -> None:
    record.look(resolve(path), opened=True)


def _written(record: Record, path: Any) -> None:
    record.wrote(resolve(path))


def read_model(record: Record, path: Any) -> None:
    """An ONNX file is read, and with it every file that its tensors lie in."""
    found = resolve(path)
    if found is None or len(found) > os.pathconf("/", "PC_PATH_MAX"):
        return
    record.look(found, opened=True)
    if record.scope.place(found)[0] in {IGNORED, SITE}:
        return
    for name in _external_files(found):
        record.look(resolve(os.path.join(os.path.dirname(found), name)), opened=True)


def _external_files(path: str) -> set[str]:
    """List the names of the files that hold a model's external tensors, without parsing the model."""
    if not os.path.isfile(path) or not os.path.getsize(path):
        return set()
    found = set()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for match in _LOCATION.finditer(content):
            start = match.end()
            length = content[start] if start < len(content) else 0
            if length >= 128 and start + 1 < len(content):  # noqa: PLR2004  a varint of two bytes
                length = (length & 127) | content[start + 1] << 7
                start += 1
            found.add(content[start + 1 : start + 1 + length].decode("utf-8", "replace"))
    return {name for name in found if name and "\0" not in name}


def _replace_everywhere(original: Any, wrapped: Any) -> None:
    """Put `wrapped` wherever a module has `original`."""
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", None)
        if not isinstance(names, dict):
            continue
        for name, value in list(names.items()):
            if value is original:
                names[name] = wrapped


class _OpenerType(type):
    """Makes the wrapper of a class answer for the class."""

    _original: type

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls._original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls._original)

    def __call__(cls, filename: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(filename, str | bytes | os.PathLike):
            tell(_read, filename)
        return cls._original(filename, *args, **kwargs)


def _wrap_safetensors(module: Any) -> None:
    original = module.safe_open
    opener = _OpenerType("safe_open", (), {"__doc__": original.__doc__, "_original": original})
    opener.__module__ = original.__module__
    _replace_everywhere(original, opener)
    writer = module.serialize_file
    _replace_everywhere(writer, writes(writer, 1, "filename"))


def _wrap_torch(module: Any) -> None:
    original = module.from_file
    _replace_everywhere(original, reads(original, 0, "filename"))
    storage = module.UntypedStorage
    storage.from_file = staticmethod(reads(storage.from_file, 0, "filename"))
    _replace_everywhere(module.save, writes(module.save, 1, "f"))


def _wrap_jit(module: Any) -> None:
    _replace_everywhere(module.load, reads(module.load, 0, "f"))
    _replace_everywhere(module.save, writes(module.save, 1, "f"))
    for owner, position in ((module.ScriptModule, 1), (module.RecursiveScriptModule, 1)):
        owner.save = writes(owner.save, position, "f")


def _wrap_exported(module: Any) -> None:
    _replace_everywhere(module.load, reads(module.load, 0, "f"))
    _replace_everywhere(module.save, writes(module.save, 1, "f"))


def _wrap_onnxruntime(module: Any) -> None:
    session = module.InferenceSession
    session.__init__ = _wrap_session(session.__init__)


def _wrap_session(original: Any) -> Any:
    @functools.wraps(original)
    def __init__(  # noqa: N807
        self: Any, path_or_bytes: Any, sess_options: Any = None, *args: Any, **kwargs: Any
    ) -> None:
        if isinstance(path_or_bytes, str | os.PathLike):
            tell(read_model, path_or_bytes)
        written = getattr(sess_options, "optimized_model_filepath", "")
        if written:
            tell(_written, written)
        original(self, path_or_bytes, sess_options, *args, **kwargs)

    return __init__


def _wrap_external_data(module: Any) -> None:
    def see(record: Record, tensor: Any, folder: Any, *, written: bool) -> None:
        for entry in tensor.external_data:
            if entry.key == "location":
                path = resolve(os.path.join(os.fsdecode(folder), entry.value))
                if written:
                    record.wrote(path)
                else:
                    record.look(path, opened=True)

    def wrap(original: Any, *, written: bool) -> Any:
        @functools.wraps(original)
        def wrapped(tensor: Any, folder: Any, *args: Any, **kwargs: Any) -> Any:
            tell(see, tensor, folder, written=written)
            return original(tensor, folder, *args, **kwargs)

        return wrapped

    original = module.load_external_data_for_tensor
    _replace_everywhere(original, wrap(original, written=False))
    original = module.save_external_data
    _replace_everywhere(original, wrap(original, written=True))


def _wrap_checker(module: Any) -> None:
    _replace_everywhere(module.check_model, reads(module.check_model, 0, "model", read_model))


def _wrap_inference(module: Any) -> None:
    original = module.infer_shapes_path
    wrapped = reads(original, 0, "model_path", read_model)
    _replace_everywhere(original, writes(wrapped, 1, "output_path"))


def _wrap_metadata(module: Any) -> None:
    """Whoever asks for a distribution by name depends on its version, or on its absence."""
    original = module.Distribution.from_name.__func__

    def from_name(cls: Any, name: Any) -> Any:
        if isinstance(name, str) and name:
            tell(Record.package, normalize(name))
        return original(cls, name)

    module.Distribution.from_name = classmethod(functools.wraps(original)(from_name))


def _wrap_tokenizers(module: Any) -> None:
    tokenizer = module.Tokenizer
    tokenizer.from_file = staticmethod(reads(tokenizer.from_file, 0, "path"))


def _wrap_sentencepiece(module: Any) -> None:
    reader = module.SentencePieceProcessor
    reader.LoadFromFile = reads(reader.LoadFromFile, 1, "arg")


_PENDING: dict[str, Callable[[Any], None]] = {
    "importlib.metadata": _wrap_metadata,
    "onnx.checker": _wrap_checker,
    "onnx.external_data_helper": _wrap_external_data,
    "onnx.shape_inference": _wrap_inference,
    "onnxruntime": _wrap_onnxruntime,
    "safetensors": _wrap_safetensors,
    "sentencepiece": _wrap_sentencepiece,
    "tokenizers": _wrap_tokenizers,
    "torch": _wrap_torch,
    "torch.export": _wrap_exported,
    "torch.jit": _wrap_jit,
}
"""What remains to be wrapped, by the module that must have been imported."""
