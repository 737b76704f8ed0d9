"""Reading everything that a store holds, and what it has published, against the digests of when it was written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxbuild.core import answers, files
from onnxbuild.core.digest import PREFIX, digest_file
from onnxbuild.stores.database import DamagedCacheError
from onnxbuild.stores.holdings import Holdings, read_holdings
from onnxbuild.stores.inventory import CONTENT, Item, is_ours, list_items
from onnxbuild.stores.leases import alone
from onnxbuild.stores.local import LocalStore
from onnxbuild.stores.rows import PublishedVariant

RESTORED = "a published file: the next run restores it"

State: TypeAlias = Literal["damaged", "missing", "unreadable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something that is not what was written."""

    state: State
    what: str
    """In words: whose result, or which published file."""

    path: str
    """Where it lies, or should."""

    number: int | None = None
    """The row of a trace that cannot be used because of it."""

    row: tuple[str, str] | None = None
    """Table and name of another row that is damaged itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What was read, and what of it is not whole."""

    files: int
    bytes: int
    results: int
    """Traces."""
    variants: int
    """Published folders."""
    damages: tuple[Damage, ...]
    repaired: bool = False


def check(store: LocalStore, *, repair: bool = False, threads: int | None = None) -> Checked:
    """Read all content, traces, answers and published files of a store.

    With `repair` what is damaged is dropped, with every trace that needs it, so that the next build makes it
    again; published files are left to that build, which restores them. Safe beside running builds.
    """
    if repair and not store.is_writable:
        raise files.explain(OSError(errno.EROFS, os.strerror(errno.EROFS)), store.root)
    items = list(list_items(store.root))
    content = [item for item in items if item.kind in CONTENT]
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        states = list(pool.map(lambda item: _look(item.path, PREFIX + item.name), content))
    # What is missing by now was collected, or put aside by a build.
    broken = {
        item.name: (item, state)
        for item, state in zip(content, states, strict=True)
        if state is not None and state != "missing"
    }
    damages: list[Damage] = []
    holdings = Holdings()
    variants: Mapping[str, PublishedVariant] = {}
    try:
        damages += _check_tables(store)
        holdings = read_holdings(store)
        variants = store.actions.variants()
        damages += _check_results(store, holdings, broken, {item.name for item in content})
        damages += _check_rows(store)
    except DamagedCacheError as error:
        damages.append(Damage(state="damaged", what=error.what, path=store.actions.path))
    damages += _check_answers(items)
    damages += _check_variants(store, variants)
    if repair and damages:
        _repair(store, damages, [item for item, _ in broken.values()])
    return Checked(
        files=len(items),
        bytes=sum(item.size for item in items),
        results=len(holdings.traces),
        variants=sum(os.path.isdir(store.folder_of(place)) for place in variants),
        damages=tuple(damages),
        repaired=repair and any(damage.what != RESTORED for damage in damages),
    )


def _look(path: str, digest: str) -> State | None:
    """Read a file; None when it is what it should be."""
    try:
        return None if digest_file(path) == digest else "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"


def _check_tables(store: LocalStore) -> Iterator[Damage]:
    for (line,) in store.actions.ask("PRAGMA integrity_check"):
        if line != "ok":
            yield Damage(state="damaged", what=f"the action cache: {line}", path=store.actions.path)


def _check_results(
    store: LocalStore,
    holdings: Holdings,
    broken: Mapping[str, tuple[Item, State]],
    present: set[str],
) -> Iterator[Damage]:
    """Find what is wrong with content, once for each trace that refers to it, and with traces themselves."""
    name_of = _labels(store)
    for number in holdings.damaged:
        what = "a trace: its step is built again"
        yield Damage(state="damaged", what=what, path=store.actions.path, number=number)
    blamed = set()
    for holding in holdings.traces.values():
        what = f"a result of {name_of(holding.key)}"
        for name in sorted(holding.names):
            if name in broken:
                blamed.add(name)
                item, state = broken[name]
                yield Damage(state=state, what=what, path=item.path, number=holding.number)
            elif name not in present and _is_missing(store, holding.number, name):
                path = store.blob_path(PREFIX + name)
                yield Damage(state="missing", what=what, path=path, number=holding.number)
    for name in broken.keys() - blamed:
        item, state = broken[name]
        yield Damage(state=state, what="content that no result needs", path=item.path)


def _check_rows(store: LocalStore) -> Iterator[Damage]:
    for table, name in store.actions.damaged_rows():
        what = f"what is remembered of {'the published folder' if table == 'variants' else 'publishing'} {name}"
        yield Damage(state="damaged", what=what, path=store.actions.path, row=(table, name))


def _is_missing(store: LocalStore, number: int, name: str) -> bool:
    """Tell whether content is not there and its trace is: a collection may have taken both meanwhile."""
    places = (store.blob_path(PREFIX + name), store.graph_path(PREFIX + name))
    return not any(map(os.path.isfile, places)) and bool(
        store.actions.ask("SELECT 1 FROM traces WHERE number = ?", number)
    )


def _labels(store: LocalStore) -> Callable[[str], str]:
    """Give what to call the step of a key: as the last build of a recipe did."""
    known = {
        key: f"{name.partition('|')[0]} of {recipe}"
        for recipe in store.actions.recipes()
        for name, key in store.actions.latest(recipe).items()
    }
    return lambda key: known.get(key, "an earlier build")


def _check_answers(items: Iterable[Item]) -> Iterator[Damage]:
    for item in items:
        is_answer = item.kind == "answers" and "." not in os.path.basename(item.path)
        if is_answer and not answers.is_whole(item.path):
            yield Damage(state="damaged", what="a remembered answer", path=item.path)


def _check_variants(
    store: LocalStore, variants: Mapping[str, PublishedVariant]
) -> Iterator[Damage]:
    for place, variant in variants.items():
        folder = store.folder_of(place)
        if not os.path.isdir(folder):
            # Whoever removes a whole variant means it.
            continue
        damages = list(_compare(folder, variant.contents))
        if damages and variant.before and not list(_compare(folder, variant.before)):
            # Whoever was replacing it has not got there, yet or ever.
            continue
        # A build may have published another version while we read.
        if damages and store.actions.variant(place) == variant:
            yield from damages


def _compare(folder: str, contents: Mapping[str, str]) -> Iterator[Damage]:
    for name, digest in contents.items():
        path = os.path.join(folder, name)
        state = _look(path, digest)
        if state:
            yield Damage(state=state, what=RESTORED, path=path)


def _repair(store: LocalStore, damages: Sequence[Damage], broken: Iterable[Item]) -> None:
    if any(
        damage.path == store.actions.path and damage.number is None and damage.row is None
        for damage in damages
    ):
        store.set_aside()
    numbers = sorted({damage.number for damage in damages if damage.number is not None})
    with alone(store.root):
        store.actions.note("DELETE FROM traces WHERE number = ?", [(number,) for number in numbers])
        for damage in damages:
            if damage.row is not None:
                store.actions.drop_row(*damage.row)
        for item in broken:
            # A build may have put it aside, or made it anew, meanwhile.
            if _look(item.path, PREFIX + item.name) == "damaged":
                store.quarantine(item.path)
    # What they say is true, but no build would look at what is missing.
    folder = os.path.join(store.root, "answers")
    if os.path.isdir(folder):
        for name in filter(lambda name: is_ours("answers", name), os.listdir(folder)):
            files.remove(os.path.join(folder, name))
