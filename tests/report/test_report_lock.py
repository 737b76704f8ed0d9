"""Lock files: written for people, read with care, compared before anything is published."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from onnxbuild.errors import LockError, UsageError
from onnxbuild.report.lock import Lock, keep, lasting, shorten, this_platform, write_out
from onnxbuild.report.lock_reading import ReadLock
from onnxbuild.report.locked import Locked
from onnxbuild.report.result import LockedFile, LockedVariant

VARIANT = LockedVariant(
    opset=18,
    files={"model.onnx": LockedFile(digest="b3:" + "a" * 64, bytes=7)},
    fidelity={"scaled_error_below": 1e-5, "metric": 0.97},
    libraries={"numpy": "2.1.0", "onnx": "1.19"},
    processor="x86_64 avx2",
)

LOCK = Lock(
    recipe="net",
    overrides=("export.opset=18",),
    platform=this_platform(),
    variants={"int8": VARIANT, "fp16": replace(VARIANT, processor="")},
)


def locked(lock: Lock = LOCK, *overrides: str) -> Locked:
    return Locked(
        read=ReadLock(
            write_out(lock, "net.yaml").encode(), "net.lock.yaml", "onnxbuild lock net.yaml"
        ),
        overrides=overrides or lock.overrides,
        recipe="net.yaml",
        fact=("file", "./net.lock.yaml", ""),
    )


def test_what_is_written_is_read():
    """A lock comes back as it was, in an order that does not depend on how it came about."""
    text = write_out(LOCK, "net.yaml")
    turned = replace(LOCK, variants=dict(reversed(LOCK.variants.items())))

    assert ReadLock(text.encode(), "net.lock.yaml", "").lock == LOCK
    assert write_out(turned, "net.yaml") == text
    assert text.startswith("# What `onnxbuild run --locked` holds net.yaml to.")
    assert "#   onnxbuild lock net.yaml export.opset=18\n" in text
    assert text.endswith("\n")


@pytest.mark.parametrize(
    "word",
    [
        "a=yes",
        "two\nlines",
        "yes",
        "1e3",
        "x: y",
        'say "so"',
        "tab\there",
        "\x7f",
        "emoji=\U0001f40d",
        "- a",
        "#",
    ],
)
def test_any_override_survives(word):
    """No text of an override is taken for something else."""
    lock = replace(LOCK, overrides=(word,))

    read = ReadLock(write_out(lock, "net.yaml").encode(), "net.lock.yaml", "").lock

    assert read.overrides == (word,)


def test_a_lock_that_says_the_same_is_left_alone(tmp_path):
    """Its time stays, so that nothing that looks at it runs."""
    path = str(tmp_path / "net.lock.yaml")

    first, second, third = keep(path, "a\n"), keep(path, "a\n"), keep(path, "b\n")

    assert (first, second, third) == (True, False, True)
    assert os.listdir(tmp_path) == ["net.lock.yaml"]
    assert (tmp_path / "net.lock.yaml").read_text() == "b\n"


@pytest.mark.parametrize(
    ("old", "new", "what", "line"),
    [
        pytest.param("format: 1", "format: 2", "has format 2", 3, id="format"),
        pytest.param("recipe: net\n", "", "recipe is missing", 0, id="missing"),
        pytest.param("opset: 18", "opset: new", "variants.fp16.opset must be a whole number", 13, id="type"),
        pytest.param("a" * 64, "a" * 63, "is no digest", 16, id="digest"),
        pytest.param("opset: 18", "opsets: 18", "variants.fp16.opsets has no place in a lock", 13, id="key"),
        pytest.param("recipe: net", "<<<<<<< ours", "this is not YAML", 5, id="conflict"),
        pytest.param("variants:\n", "variants: 1\nothers:\n", "others has no place", 12, id="shape"),
    ],
)  # fmt: skip
def test_a_damaged_lock_is_refused_with_its_line(old, new, what, line):
    """Whoever edited a lock, or left a conflict in it, reads where."""
    text = write_out(LOCK, "net.yaml")
    assert old in text

    with pytest.raises(UsageError) as caught:
        ReadLock(text.replace(old, new, 1).encode(), "net.lock.yaml", "onnxbuild lock net.yaml")

    assert what in caught.value.what
    assert caught.value.where.startswith(f"net.lock.yaml:{line}:" if line else "net.lock.yaml")
    assert "`onnxbuild lock net.yaml` writes it anew" in caught.value.hint


def test_what_is_locked_passes():
    """Fidelity is for people: a machine may measure a little more."""
    locked().check("int8", replace(VARIANT, fidelity={}))


def test_another_model_is_refused_with_its_likely_causes():
    """Both digests, where the lock has its own, and what differs, the likeliest first."""
    found = replace(
        VARIANT,
        files={"model.onnx": LockedFile(digest="b3:" + "c" * 64, bytes=9)},
        libraries={"numpy": "2.2.0", "onnx": "1.19"},
        processor="x86_64 avx512f",
    )

    with pytest.raises(LockError) as caught:
        locked(LOCK, "export.opset=20").check("int8", found)

    error = caught.value
    assert error.exit_code == 1
    assert error.what == (
        "model.onnx would be b3:cccccccccccc… (9 bytes), and b3:aaaaaaaaaaaa… (7 bytes) is locked"
    )
    assert error.where.startswith("net.lock.yaml:")
    assert error.hint == (
        "overrides: export.opset=20 here, export.opset=18 in the lock; "
        "numpy: 2.2.0 here, 2.1.0 in the lock; "
        "processor: x86_64 avx512f here, x86_64 avx2 in the lock; "
        "if that is meant, `onnxbuild lock net.yaml export.opset=20` renews the lock"
    )


@pytest.mark.parametrize(
    ("files", "what"),
    [
        pytest.param({}, "model.onnx is locked, and would not be there", id="gone"),
        pytest.param({**VARIANT.files, "b.data": VARIANT.files["model.onnx"]}, "b.data is not in the lock", id="new"),
        pytest.param({"model.onnx": LockedFile(digest="b3:" + "a" * 64, bytes=8)}, "7 are locked", id="bytes"),
    ],
)  # fmt: skip
def test_other_files_are_refused(files, what):
    """A file more or less is a difference, for which nothing else may be to blame."""
    with pytest.raises(LockError, match=what) as caught:
        locked().check("int8", replace(VARIANT, files=files))

    assert "overrides, libraries and platform are as locked" in caught.value.hint


def test_variants_that_come_and_go_are_told():
    """What is not in the lock is not published; what is locked and no longer published is named."""
    with pytest.raises(LockError, match="not in the lock"):
        locked().check("slim", VARIANT)

    assert [name for name, _ in locked().missing(["int8", "slim"])] == ["fp16"]


def test_settings_are_no_overrides_of_a_model():
    """Where a build keeps things is not written down."""
    words = [
        "settings.jobs=2",
        "++settings.store=/a",
        "store=big",
        "executor=inline",
        "env=ci",
        "~dims",
    ]

    assert lasting(words) == ("env=ci", "~dims")


@pytest.mark.parametrize(
    ("scaled", "below"), [(0.0, 1e-6), (3e-9, 1e-6), (4.2e-4, 1e-3), (0.5, 1.0), (None, None)]
)
def test_errors_are_locked_by_their_size(scaled, below):
    """The noise of float32, which differs from machine to machine, is not told apart."""
    assert shorten(scaled, None).get("scaled_error_below") == below
