"""Where a project begins."""

import os

import pytest

from onnxbuild.project import find_root, store_folder


@pytest.mark.parametrize("mark", ["configs", "pyproject.toml", ".git"])
def test_the_root_is_the_nearest_folder_with_a_mark(tmp_path, mark):
    """Upwards from the recipe, the first folder that looks like a project."""
    (tmp_path / "outer" / ".git").mkdir(parents=True)
    inner = tmp_path / "outer" / "inner"
    (inner / mark).mkdir(parents=True)
    (inner / "recipes" / "deep").mkdir(parents=True)

    root = find_root(str(inner / "recipes" / "deep"))

    assert root == str(inner)


def test_without_a_mark_the_recipes_folder_is_the_root(tmp_path):
    """A recipe in an empty folder is a project of its own."""
    (tmp_path / "lonely").mkdir()

    assert find_root(str(tmp_path / "lonely"), home=str(tmp_path)) == str(tmp_path / "lonely")


def test_a_home_folder_in_git_is_no_project(tmp_path):
    """Dotfiles in git do not make everything one project; nor does what lies above."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "home" / ".git").mkdir(parents=True)
    (tmp_path / "home" / "work").mkdir()

    root = find_root(str(tmp_path / "home" / "work"), home=str(tmp_path / "home"))

    assert root == str(tmp_path / "home" / "work")


def test_a_link_to_a_project_is_the_project(tmp_path):
    """Workers see real paths, so the root is one."""
    (tmp_path / "real" / ".git").mkdir(parents=True)
    os.symlink(tmp_path / "real", tmp_path / "link")

    assert find_root(str(tmp_path / "link")) == str(tmp_path / "real")


def test_the_store_is_where_the_variable_or_the_setting_says(tmp_path, monkeypatch):
    """The variable beats the setting, which beats the default."""
    monkeypatch.delenv("ONNXBUILD_STORE", raising=False)
    default = store_folder("/project")
    setting = store_folder("/project", "cache")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONNXBUILD_STORE", "mine")

    assert default == "/project/.onnxbuild"
    assert setting == "/project/cache"
    assert store_folder("/project", "cache") == str(tmp_path / "mine")
