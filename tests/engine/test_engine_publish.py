"""Publishing: all of the old or all of the new."""

from __future__ import annotations

import errno
import fcntl
import json
import os

import pytest

from onnxbuild.core import points
from onnxbuild.core.digest import digest_file
from onnxbuild.engine import publish
from onnxbuild.errors import StoreError


def filling(**contents: str):
    def fill(folder: str) -> None:
        for name, text in contents.items():
            with open(os.path.join(folder, name.replace("_", ".")), "w", encoding="utf-8") as file:
                file.write(text)

    return fill


def read(folder) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def refuse(what: str) -> None:
    pytest.fail(f"said {what}")


def test_first_publish_makes_the_folder(tmp_path):
    """Nothing there before, everything there after, and nothing besides."""
    publish.replace(str(tmp_path / "r" / "v"), filling(model_onnx="m", build_json="b"), refuse)

    assert read(tmp_path / "r" / "v") == {"model.onnx": "m", "build.json": "b"}
    assert os.listdir(tmp_path / "r") == ["v"]


def test_second_publish_replaces_all_of_it(tmp_path):
    """What only the old version had is gone."""
    target = tmp_path / "v"
    publish.replace(str(target), filling(model_onnx="old", extra_txt="x"), refuse)

    publish.replace(str(target), filling(model_onnx="new"), refuse)

    assert read(target) == {"model.onnx": "new"}
    assert os.listdir(tmp_path) == ["v"]


def test_failed_filling_leaves_the_old(tmp_path):
    """An error while writing changes nothing and leaves nothing behind."""
    target = tmp_path / "v"
    publish.replace(str(target), filling(model_onnx="old"), refuse)

    def fill(folder):
        filling(model_onnx="half")(folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match="No space left") as caught:
        publish.replace(str(target), fill, refuse)

    assert "the disk is full" in caught.value.hint
    assert read(target) == {"model.onnx": "old"}
    assert os.listdir(tmp_path) == ["v"]


def test_what_a_killed_publish_left_is_removed(tmp_path):
    """Its folder goes with the next publish; one in which another is at work, or that is no such folder, stays."""
    left, busy, other = (tmp_path / name for name in (".v-abcdefgh", ".v-12345678", ".v-notes"))
    for folder in (left, busy, other):
        folder.mkdir()
        os.utime(folder, (0, 0))
    handle = os.open(busy, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)

    publish.replace(str(tmp_path / "v"), filling(model_onnx="m"), refuse)
    os.close(handle)

    assert set(os.listdir(tmp_path)) == {"v", ".v-12345678", ".v-notes"}


def test_external_data_of_the_version_before_stays_once(tmp_path):
    """A reader of the old graph still finds its data; the version before that is gone."""
    target = tmp_path / "v"
    for version in ("1", "2", "3"):
        files = json.dumps({"files": {"model.onnx": [], f"model-{version}.onnx.data": []}})
        contents = {
            f"model-{version}_onnx_data": version,
            "model_onnx": version,
            "build_json": files,
        }
        publish.replace(str(target), filling(**contents), refuse)

    assert {"model-2.onnx.data", "model-3.onnx.data"} <= set(os.listdir(target))
    assert "model-1.onnx.data" not in os.listdir(target)


def test_file_system_that_cannot_exchange(tmp_path, monkeypatch):
    """Files are then replaced one by one, build.json last, and it is said."""
    target, said = tmp_path / "v", []
    publish.replace(str(target), filling(model_onnx="old", gone_txt="x", build_json="1"), refuse)
    monkeypatch.setattr(publish, "_exchange", lambda *_: errno.EXDEV)
    order = []
    rename = os.rename
    monkeypatch.setattr(
        os, "rename", lambda a, b: (order.append(os.path.basename(b)), rename(a, b))
    )

    publish.replace(str(target), filling(model_onnx="new", build_json="2"), said.append)

    assert read(target) == {"model.onnx": "new", "build.json": "2"}
    assert order[-1] == "build.json"
    assert "cannot exchange folders" in said[0]


def test_intact_means_every_file_by_digest(tmp_path):
    """An edited, or a missing, file is seen."""
    target = tmp_path / "v"
    publish.replace(str(target), filling(model_onnx="m", build_json="b"), refuse)
    contents = {name: digest_file(str(target / name)) for name in os.listdir(target)}

    whole = publish.is_intact(str(target), contents, digest_file)
    (target / "model.onnx").write_text("M")
    edited = publish.is_intact(str(target), contents, digest_file)
    (target / "model.onnx").unlink()

    assert (whole, edited) == (True, False)
    assert not publish.is_intact(str(target), contents, digest_file)
    assert not publish.is_intact(str(tmp_path / "none"), contents, digest_file)


def test_published_files_are_durable_before_they_are_in_place(tmp_path, monkeypatch):
    """Every one of them, and the folder's names: a power cut leaves the old or the new."""
    flushed, sync, exchanged = set(), os.fsync, []

    def note(handle):
        flushed.add(os.fstat(handle).st_ino)
        sync(handle)

    def look(what, path):
        if what == "rename" and path == str(target):
            (staging,) = (item for item in target.parent.iterdir() if item.name.startswith("."))
            inodes = {item.stat().st_ino for item in (staging, *staging.iterdir())}
            exchanged.append(inodes <= flushed)

    def fill(folder):
        for name in ("model.onnx", "build.json"):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write("{}")

    target = tmp_path / "net" / "fp32"
    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(points, "at", look)
    for _ in range(2):
        publish.replace(str(target), fill, str)

    assert exchanged == [True, True]
    assert target.parent.stat().st_ino in flushed
