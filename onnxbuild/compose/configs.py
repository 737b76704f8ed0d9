"""Config files for Hydra: found along a search path, read as recipes are, and every look noted."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_repository import ConfigRepository
from hydra._internal.defaults_list import create_defaults_list
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.version import VersionBase
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from onnxbuild.errors import RecipeError
from onnxbuild.recipe.describe import fields_of
from onnxbuild.recipe.looking import Looking
from onnxbuild.recipe.messages import describe
from onnxbuild.recipe.mistakes import Mistake, Place, did_you_mean
from onnxbuild.recipe.reader import Document, read
from onnxbuild.recipe.schema import Recipe

PRIMARY = "_recipe_"
"""The name under which Hydra knows the recipe itself."""

GROUPS = ("executor", "store")
"""Groups of which nothing is chosen unless someone does."""

ENV = "env"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One config of the defaults list, to be laid over those before it."""

    document: Document
    data: Mapping[str, Any]
    prefix: tuple[str, ...]
    name: str
    """``env/ci``; empty for the recipe itself."""


class Configs(ConfigRepository):  # type: ignore[misc]
    """The recipe, and what lies beside it, in the project's ``configs/`` and in onnxbuild's own."""

    def __init__(self, recipe: Document, folders: tuple[str, ...], looking: Looking) -> None:
        self.folders = folders
        self.looking = looking
        self.sources: list[ConfigSource] = []
        self.documents: dict[str, Document] = {PRIMARY: recipe}
        self._results: dict[str, ConfigResult | None] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Read a config and its defaults list; None when there is none of this name."""
        if config_path.endswith("/None"):
            # Hydra's name for a group of which nothing is chosen.
            return None
        if config_path not in self._results:
            self._results[config_path] = self._load(config_path)
        return self._results[config_path]

    def _load(self, config_path: str) -> ConfigResult | None:
        document = self.documents.get(config_path) or self._read(config_path)
        if document is None:
            return None
        self.documents[config_path] = document
        defaults = _defaults_of(document)
        if config_path == PRIMARY:
            defaults = with_own_defaults(defaults)
        header = ConfigSource._get_header_dict("\n".join(document.lines[:10]))
        if not header.get("package") and config_path.partition("/")[0] not in fields_of(Recipe):
            # Hydra would put `configs/env/x.yaml` under a key `env`, which no recipe has.
            header = {**header, "package": "_global_"}
        result = ConfigResult(
            provider="onnxbuild", path=document.name, config=OmegaConf.create({}), header=header
        )
        result.defaults_list = self._create_defaults_list(config_path, OmegaConf.create(defaults))
        return result

    def _read(self, config_path: str) -> Document | None:
        for folder in self.folders:
            path = os.path.join(folder, config_path + ".yaml")
            content = self.looking.read(path)
            if content is not None:
                return read_config(content, shown(path))
        return None

    def group_exists(self, config_path: str) -> bool:
        """Tell whether a folder of configs has this name. The keys of a recipe are never groups."""
        if not config_path or "." in config_path or config_path in fields_of(Recipe):
            return False
        return bool(self.get_group_options(config_path))

    def config_exists(self, config_path: str) -> bool:
        """Tell whether there is a config of this name."""
        return self.load_config(config_path) is not None

    def get_group_options(self, group_name: str, results_filter: object = None) -> list[str]:
        """List the configs of a group, over the whole search path."""
        del results_filter
        names: set[str] = set()
        for folder in self.folders:
            found = self.looking.names(os.path.join(folder, group_name))
            names.update(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))
        return sorted(names)

    def named_groups(self) -> set[str]:
        """Give the groups that the recipe's defaults list names, those that it always has included."""
        written = self.documents[PRIMARY].data.get("defaults")
        return {
            _group(item) for item in with_own_defaults(written if isinstance(written, list) else [])
        }

    def groups(self) -> list[str]:
        """List the groups that there are."""
        names: set[str] = set(GROUPS) | {ENV}
        for folder in self.folders[1:]:
            names.update(name for name in self.looking.names(folder) if "." not in name)
        return sorted(names)


def read_config(content: bytes, name: str) -> Document:
    """Read a config; unlike a recipe it may be empty."""
    text = content.decode("utf-8", "replace")
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return Document(name=name, lines=text.splitlines())
    return read(content, name)


def shown(path: str) -> str:
    """Name a file as the user would: relative where it is below the working directory."""
    here = os.getcwd()
    if path == here:
        return "."
    return os.path.relpath(path, here) if path.startswith(here + os.sep) else path


def with_own_defaults(written: list[Any]) -> list[Any]:
    """Let the recipe come after what it is based on, and the environment after the recipe."""
    named = {_group(item) for item in written if not _is_override(item)}
    added = [{group: None} for group in GROUPS if group not in named]
    if "_self_" not in written:
        written = [*[item for item in written if _group(item) != ENV], "_self_", *_of(written, ENV)]
    own_env = [] if ENV in named else [{ENV: "local"}]
    overriding = [item for item in written if _is_override(item)]
    rest = [item for item in written if not _is_override(item)]
    return [*rest, *added, *own_env, *overriding]


def _of(written: list[Any], group: str) -> list[Any]:
    return [item for item in written if _group(item) == group]


def _group(item: Any) -> str:
    if not isinstance(item, Mapping) or not item:
        return ""
    return str(next(iter(item))).rpartition(" ")[2].removeprefix("/")


def _is_override(item: Any) -> bool:
    return isinstance(item, Mapping) and bool(item) and "override " in str(next(iter(item)))


def parts_of(
    configs: Configs, group_overrides: list[Any], texts: Mapping[str, str]
) -> tuple[list[Part], list[Mistake]]:
    """Give the configs that a recipe is composed of, in order, as Hydra's defaults list says.

    `texts` gives the overrides as they were written, by group.
    """
    recipe = configs.documents[PRIMARY]
    try:
        with version_base(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            listed = create_defaults_list(
                configs, PRIMARY, group_overrides, prepend_hydra=False, skip_missing=False
            )
    except MissingConfigException as error:
        return [_part(configs, PRIMARY, "")], [_missing(error, configs, texts)]
    except RecursionError:
        what = "a config names itself in its defaults list, or one that names it"
        return [_part(configs, PRIMARY, "")], [Mistake(what, place=_defaults_place(recipe))]
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
        what = " ".join(str(error).replace(PRIMARY, recipe.name).split())
        return [_part(configs, PRIMARY, "")], [
            Mistake(f"the defaults list does not work: {what}", place=_defaults_place(recipe))
        ]
    parts = [_part(configs, item.config_path, item.package or "") for item in listed.defaults]
    return parts, []


def _defaults_of(document: Document) -> list[Any]:
    written = document.data.get("defaults")
    if written is None:
        return []
    if isinstance(written, list):
        return written
    what = f"`defaults` must be a list, not {describe(written)}"
    hint = f"write [{written}]" if isinstance(written, str) else ""
    raise RecipeError([Mistake(what, place=_defaults_place(document), hint=hint)])


def _defaults_place(recipe: Document) -> Place:
    span = recipe.keys.get(("defaults",))
    return recipe.place(span) if span else Place(source=recipe.name)


def _part(configs: Configs, config_path: str, package: str) -> Part:
    document = configs.documents[config_path]
    return Part(
        document=document,
        data={key: value for key, value in document.data.items() if key != "defaults"},
        prefix=tuple(filter(None, package.split("."))),
        name="" if config_path == PRIMARY else config_path,
    )


def _missing(error: MissingConfigException, configs: Configs, texts: Mapping[str, str]) -> Mistake:
    group, _, name = str(error.missing_cfg_file or "").rpartition("/")
    options = configs.get_group_options(group) if group else []
    what = (
        f"there is no environment {name!r}"
        if group == ENV
        else f"there is no config {error.missing_cfg_file}"
    )
    recipe = configs.documents[PRIMARY]
    if group in texts:
        text = texts[group]
        place = Place(
            source="",
            column=text.index("=") + 2,
            width=len(text) - text.index("=") - 1,
            text=text,
            origin=f"the override `{text}`",
            order=99,
        )
    else:
        place = _defaults_place(recipe)
    hint = (
        did_you_mean(name, options)
        or f"it would be a file {shown(os.path.join(configs.folders[1], f'{error.missing_cfg_file}.yaml'))}"
    )
    return Mistake(what, place=place, hint=hint)


@contextmanager
def version_base() -> Iterator[None]:
    """Let Hydra behave as its current version does, and put back what others have set."""
    from packaging.version import Version

    before = VersionBase.instance().getbase()
    VersionBase.instance().version_base = Version("1.3")
    try:
        yield
    finally:
        VersionBase.instance().version_base = before
