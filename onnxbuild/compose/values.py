"""Lay values over one another, and resolve interpolations."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from onnxbuild.recipe.looking import Looking
from onnxbuild.recipe.mistakes import KeyPath, Mistake, dotted
from onnxbuild.recipe.scalars import walk
from onnxbuild.recipe.sources import Sources

RESOLVER = re.compile(r"\$\{\s*([A-Za-z_][A-Za-z0-9_.]*)\s*:")
ALLOWED = frozenset(
    {
        "oc.env",
        "oc.select",
        "oc.decode",
        "oc.create",
        "oc.deprecated",
        "oc.dict.keys",
        "oc.dict.values",
    }
)
MISSING = "???"

_registering = threading.Lock()


def lay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another: mappings are merged, all else replaces what was there."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            out[key] = lay(old, value)
        else:
            out[key] = value
    return out


def resolve(
    data: dict[str, Any], sources: Sources, looking: Looking
) -> tuple[dict[str, Any], list[Mistake]]:
    """Resolve interpolations. The variables that ``oc.env`` reads are noted by the digest of their value."""
    mistakes = list(_missing(data, sources))
    texts = [(path, text) for path, text in walk(data) if isinstance(text, str) and "${" in text]
    for path, text in texts:
        mistakes += _refused(path, text, sources)
    if not texts:
        return data, mistakes
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    wrong = {mistake.path for mistake in mistakes}
    for path, text in texts:
        try:
            OmegaConf.create({"value": text})
        except OmegaConfBaseException as error:
            mistakes.append(_mistake(path, text, error, sources))
            wrong.add(path)
    whole = OmegaConf.create(_blank(data, wrong))
    with _watched_variables(looking):
        for path, text in texts:
            try:
                _at(whole, path)
            except OmegaConfBaseException as error:
                mistakes.append(_mistake(path, text, error, sources))
        resolved = data if mistakes else OmegaConf.to_container(whole, resolve=True)
    return _with_text_keys(resolved), mistakes


def _blank(value: Any, wrong: set[KeyPath], path: KeyPath = ()) -> Any:
    """Give the data without the texts that nothing can be made of."""
    if path in wrong:
        return ""
    if isinstance(value, Mapping):
        return {key: _blank(item, wrong, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_blank(item, wrong, (*path, str(index))) for index, item in enumerate(value)]
    return value


def _missing(data: Mapping[str, Any], sources: Sources) -> Iterator[Mistake]:
    for path, value in walk(data):
        if value == MISSING:
            yield Mistake(
                f"`{dotted(path)}` must be given",
                place=sources.place(path),
                hint=f"in an environment, or with an override: {dotted(path)}=…",
                path=path,
            )


def _refused(path: KeyPath, text: str, sources: Sources) -> Iterator[Mistake]:
    for found in RESOLVER.finditer(text):
        name = found.group(1)
        if name in ALLOWED:
            continue
        what = f"the resolver `{name}` is not for recipes"
        hint = f"there are {', '.join(sorted(ALLOWED))}"
        if name == "now":
            what, hint = "a recipe has no time: `${now:}` would be another value in every build", ""
        yield Mistake(what, place=sources.place(path), hint=hint, path=path)


def _mistake(path: KeyPath, text: str, error: Exception, sources: Sources) -> Mistake:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    hint = ""
    if "oc.env" in text and "not found" in said:
        said, hint = (
            said.replace("raised: KeyError", "").strip(),
            "a default: ${oc.env:NAME,default}",
        )
        variable = re.search(r"Environment variable '([^']*)'", said)
        said = f"the variable {variable.group(1)} is not set" if variable else said
    elif "Interpolation key" in said:
        said = said.replace("Interpolation key", "there is no key").replace(" not found", "")
    return Mistake(
        f"{text} cannot be resolved: {said}", place=sources.place(path), hint=hint, path=path
    )


def _at(whole: Any, path: KeyPath) -> Any:
    for key in path:
        is_list = not hasattr(whole, "keys")
        whole = whole[int(key)] if is_list else whole[key]
    return whole


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_text_keys(item) for item in value]
    return value


@contextmanager
def _watched_variables(looking: Looking) -> Iterator[None]:
    """Note each variable that ``oc.env`` reads, while this is open."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    def watched(key: str, *default: Any) -> Any:
        looking.variable(key)
        return oc.env(key, *default)

    with _registering:
        OmegaConf.register_new_resolver("oc.env", watched, replace=True)
        try:
            yield
        finally:
            OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)
