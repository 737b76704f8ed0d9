"""Read YAML safely: plain values, and where each key and value stands.

Scalars mean what YAML 1.2's core schema says: ``1e-3`` is a number, ``yes`` and ``12:30`` are text,
``0o17`` is fifteen. Keys are always text, so that ``0: batch`` and ``"0": batch`` are one key.
The text is read as a stream of events, not as a tree: no nesting can overflow the stack, no alias can
multiply, and positions come for free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from onnxbuild.errors import RecipeError
from onnxbuild.recipe.mistakes import KeyPath, Mistake, Place, in_order
from onnxbuild.recipe.scalars import resolve_plain

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

DEEPEST = 50
MOST_ALIASES = 100
MOST_NODES = 100_000

_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_CORE = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one line, counted from 0."""

    line: int
    column: int
    width: int


@dataclass(slots=True, kw_only=True)
class Document:
    """What a file says."""

    name: str
    """The file, as the user would name it."""
    lines: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    keys: dict[KeyPath, Span] = field(default_factory=dict)
    """By path, where its key stands (for an item of a list: the item)."""
    values: dict[KeyPath, Span] = field(default_factory=dict)
    """By path, where its value begins."""

    def place(self, span: Span, *, origin: str = "", order: int = 0) -> Place:
        """Give a stretch of this file as a place to show."""
        text = self.lines[span.line] if span.line < len(self.lines) else ""
        return Place(
            source=self.name,
            line=span.line + 1,
            column=span.column + 1,
            width=span.width,
            text=text,
            origin=origin,
            order=order,
        )


@dataclass(slots=True)
class _Anchor:
    value: Any
    nodes: int


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    value: Any
    path: KeyPath
    span: Span
    anchor: str | None
    key: str | None = None
    nodes: int = 1
    seen: dict[str, Span] = field(default_factory=dict)
    merged: list[tuple[Any, Span]] = field(default_factory=list)


def read(content: bytes | str, name: str) -> Document:
    """Read a YAML file whose content is a mapping. Raises `RecipeError` with all that is wrong."""
    document = Document(name=name)
    text = _decode(content, document) if isinstance(content, bytes) else content
    document.lines = _lines(text.removeprefix("\ufeff"))
    reading = _Reading(document)
    try:
        for event in yaml.parse(text, Loader=Loader):
            reading.take(event)
    except yaml.MarkedYAMLError as error:
        reading.mistakes.append(_explain(error, document))
    except yaml.reader.ReaderError as error:
        reading.mistakes.append(_explain_character(error, text, document))
    except _StopError as stop:
        reading.mistakes.append(stop.mistake)
    if not reading.mistakes:
        reading.finish()
    if reading.mistakes:
        raise RecipeError(in_order(reading.mistakes))
    return document


class _StopError(Exception):
    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.what)
        self.mistake = mistake


class _Reading:
    """Takes events and fills a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.mistakes: list[Mistake] = []
        self.open: list[_Open] = []
        self.anchors: dict[str, _Anchor] = {}
        self.aliases = 0
        self.nodes = 0
        self.documents = 0
        self.root: Any = None
        self.root_span = Span(0, 0, 1)

    def take(self, event: Any) -> None:
        span = self.span(event)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    self.stop("a recipe is one document, and here a second one begins", span)
            case yaml.ScalarEvent():
                self.take_scalar(event, span)
            case yaml.AliasEvent():
                self.take_alias(event, span)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                self.start(event, span)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.end()
            case _:
                pass

    def take_scalar(self, event: Any, span: Span) -> None:
        if "\0" in event.value:
            # An escape in double quotes can write it; no name of a file or of anything else may hold it.
            self.stop("the character U+0000 has no place in a recipe", span)
        value = self.resolve(event, span)
        frame = self.open[-1] if self.open else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            plain = event.style is None or event.style == ""
            if plain and event.value == "<<":
                frame.key = "<<"
                return
            is_int = isinstance(value, int) and not isinstance(value, bool)
            self.begin_key(frame, str(value) if is_int else event.value, span)
            if event.anchor:
                self.anchors[event.anchor] = _Anchor(event.value, 1)
            return
        self.place_value(value, span, event.anchor, nodes=1)

    def take_alias(self, event: Any, span: Span) -> None:
        self.aliases += 1
        if self.aliases > MOST_ALIASES:
            self.stop(f"more than {MOST_ALIASES} aliases", span)
        if any(frame.anchor == event.anchor for frame in self.open):
            self.stop(f"the alias *{event.anchor} stands inside of what it names", span)
        anchor = self.anchors.get(event.anchor)
        if anchor is None:
            self.stop(f"there is no anchor &{event.anchor} above this alias", span)
        frame = self.open[-1] if self.open else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            if isinstance(anchor.value, dict | list):
                self.stop("a key must be text", span)
            self.begin_key(frame, str(anchor.value), span)
            return
        self.place_value(anchor.value, span, None, nodes=anchor.nodes)

    def start(self, event: Any, span: Span) -> None:
        if event.tag not in {None, "!", f"{_CORE}map", f"{_CORE}seq"}:
            self.stop(f"the tag {event.tag} means nothing here", span, "leave it out")
        if len(self.open) >= DEEPEST:
            self.stop(f"nested more than {DEEPEST} deep", span)
        frame = self.open[-1] if self.open else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self.stop("a key must be text, not a list or a mapping", span)
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.open.append(_Open(value, self.next_path(), span, event.anchor))
        self.count(1, span)

    def end(self) -> None:
        frame = self.open.pop()
        for merged, _ in frame.merged:
            for key, value in merged.items():
                frame.value.setdefault(key, value)
        self.nodes -= 1
        self.place_value(frame.value, frame.span, frame.anchor, nodes=frame.nodes, counted=True)

    def begin_key(self, frame: _Open, key: str, span: Span) -> None:
        if key in frame.seen:
            first = frame.seen[key]
            self.mistakes.append(
                Mistake(
                    f"the key {key!r} is given twice; first at {first.line + 1}:{first.column + 1}",
                    place=self.document.place(span),
                    hint="YAML would silently take the last one",
                )
            )
        frame.seen.setdefault(key, span)
        frame.key = key
        self.document.keys[(*frame.path, key)] = span

    def place_value(
        self, value: Any, span: Span, anchor: str | None, *, nodes: int, counted: bool = False
    ) -> None:
        self.count(1 if counted else nodes, span)
        if anchor:
            self.anchors[anchor] = _Anchor(value, nodes)
        if not self.open:
            self.root, self.root_span = value, span
            self.document.values[()] = span
            return
        frame = self.open[-1]
        frame.nodes += nodes
        if isinstance(frame.value, list):
            path = (*frame.path, str(len(frame.value)))
            self.document.keys[path] = span
            frame.value.append(value)
        elif frame.key == "<<":
            self.merge(frame, value, span)
            frame.key = None
            return
        else:
            path = (*frame.path, frame.key or "")
            frame.value[path[-1]] = value
            frame.key = None
        self.document.values[path] = span

    def merge(self, frame: _Open, value: Any, span: Span) -> None:
        items = value if isinstance(value, list) else [value]
        for item in items:
            if not isinstance(item, dict):
                self.stop("`<<` takes a mapping, or a list of mappings", span)
            frame.merged.append((item, span))
            for key in item:
                path = (*frame.path, key)
                self.document.keys.setdefault(path, span)
                self.document.values.setdefault(path, span)

    def next_path(self) -> KeyPath:
        if not self.open:
            return ()
        frame = self.open[-1]
        if isinstance(frame.value, list):
            return (*frame.path, str(len(frame.value)))
        return (*frame.path, frame.key or "")

    def resolve(self, event: Any, span: Span) -> Any:
        plain, quoted = event.implicit
        tag = event.tag
        if tag in {None, "!"}:
            return resolve_plain(event.value) if plain and not quoted else event.value
        if not tag.startswith(_CORE):
            self.stop(f"the tag {tag} means nothing here", span, "leave it out")
        kind = tag.removeprefix(_CORE)
        if kind == "str":
            return event.value
        value = resolve_plain(event.value)
        if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
        if kind not in kinds:
            self.stop(f"the tag !!{kind} means nothing here", span, "leave it out")
        if type(value) is not kinds[kind]:
            self.stop(f"{event.value!r} is no !!{kind}", span)
        return value

    def finish(self) -> None:
        if self.documents == 0 or (self.root is None and not self.document.lines):
            place = Place(source=self.document.name)
            self.mistakes.append(Mistake("the file is empty", place=place, hint=_MODEL_HINT))
        elif self.root is None:
            place = Place(source=self.document.name)
            self.mistakes.append(Mistake("the file says nothing", place=place, hint=_MODEL_HINT))
        elif not isinstance(self.root, dict):
            self.mistakes.append(
                Mistake(
                    "this is no mapping of keys to values",
                    place=self.document.place(self.root_span),
                    hint=_MODEL_HINT,
                )
            )
        else:
            self.document.data = self.root

    def count(self, nodes: int, span: Span) -> None:
        self.nodes += nodes
        if self.nodes > MOST_NODES:
            self.stop(f"more than {MOST_NODES} values, aliases counted out", span)

    def span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        if start.line == end.line and end.column > start.column:
            return Span(start.line, start.column, end.column - start.column)
        lines = self.document.lines
        length = len(lines[start.line]) if start.line < len(lines) else 0
        rest = max(1, length - start.column) if end.line > start.line else 1
        return Span(start.line, start.column, rest)

    def stop(self, what: str, span: Span, hint: str = "") -> NoReturn:
        raise _StopError(Mistake(what, place=self.document.place(span), hint=hint))


_MODEL_HINT = "a recipe needs `model:`, as in model: {entry: path/file.py:function}"


def _lines(text: str) -> list[str]:
    """Split at what YAML counts as the end of a line, which is not all that Python does."""
    return _BREAK.split(text) if text else []


def _decode(content: bytes, document: Document) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line = before.count(b"\n")
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace"))
        document.lines = _lines(content.decode("utf-8", "replace"))
        mistake = Mistake(
            f"this is not UTF-8: byte 0x{content[error.start]:02x}",
            place=document.place(Span(line, column, 1)),
            hint="save the file as UTF-8",
        )
        raise RecipeError([mistake]) from error


def _explain(error: yaml.MarkedYAMLError, document: Document) -> Mistake:
    mark = error.problem_mark or error.context_mark
    span = Span(mark.line, mark.column, 1) if mark else Span(0, 0, 1)
    line = document.lines[span.line] if span.line < len(document.lines) else ""
    if "\t" in line[: span.column + 1] and not line[: span.column].replace("\t", "").strip():
        return Mistake(
            "a tab cannot indent YAML", place=document.place(span), hint="indent with spaces"
        )
    problem = (error.problem or "it makes no sense").removesuffix(".")
    if "maximum nesting depth" in problem:
        # libyaml reads ahead of its events, and has a limit of its own.
        return Mistake(f"nested more than {DEEPEST} deep", place=document.place(span))
    hint = ""
    if error.context and error.context_mark and error.context_mark.line != span.line:
        hint = f"{error.context} that begins in line {error.context_mark.line + 1}"
    if "mapping values are not allowed" in problem:
        hint = "is a value that contains `: ` not in quotes, or the line above not indented as it should be?"
    elif "cannot start any token" in problem and line[span.column : span.column + 1] in {
        "@",
        "`",
        "%",
    }:
        hint = "put the value in quotes"
    return Mistake(f"this is not YAML: {problem}", place=document.place(span), hint=hint)


def _explain_character(error: Any, text: str, document: Document) -> Mistake:
    position = error.position if isinstance(error.position, int) else 0
    before = text[:position]
    span = Span(before.count("\n"), position - (before.rfind("\n") + 1), 1)
    code = (
        error.character
        if isinstance(error.character, int)
        else ord(str(error.character)[:1] or " ")
    )
    return Mistake(
        f"the character U+{code:04X} has no place in YAML",
        place=document.place(span),
        hint="remove it, or write it as an escape in double quotes",
    )
