import os
import shutil
import sys
import sysconfig
import types

import pytest

from onnxbuild.core.facts import installed
from onnxbuild.observe import loader
from onnxbuild.observe.packages import owners, requirements
from onnxbuild.observe.scope import sites


def test_an_imported_helper_counts(project):
    """What every build tool misses: the module that the entry file imports, also inside a function."""
    project.write("model.py", "import helper\ndef build():\n    import late\n    return late.X\n")
    project.write("helper.py", "X = 1\n")
    project.write("late.py", "X = 2\n")

    seen = project.run("import model; model.build()")

    assert {"./model.py", "./helper.py", "./late.py"} <= seen.names("file")
    project.write("late.py", "X = 3\n")
    assert seen.broken() is not None


def test_a_same_size_edit_with_its_time_restored_is_run(project):
    """Python would run the stale ``.pyc``; no bytecode of project code is read or written."""
    path = project.write("helper.py", "X = 1\n")
    status = os.stat(path)
    # Plant the cache as a run of the user's own would.
    assert (
        os.system(
            f"env -u PYTHONDONTWRITEBYTECODE -u PYTHONPYCACHEPREFIX {__import__('sys').executable} -c 'import helper'"
        )
        == 0
    )
    planted = os.listdir("__pycache__")
    project.write("helper.py", "X = 2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    seen = project.run("import helper; print(helper.X)")

    assert project.printed == ["2"]
    assert os.listdir("__pycache__") == planted
    assert "./helper.py" in seen.names("file")


def test_no_bytecode_is_written(project):
    """Nor for modules loaded by path, as editable installs and many scripts do."""
    project.write("a/__init__.py")
    project.write("a/__init__.py", "from . import b\n")
    project.write("a/b.py", "X = 1\n")
    project.write("c.py", "X = 1\n")

    seen = project.run(
        """
        import a
        from importlib.util import module_from_spec, spec_from_file_location
        spec = spec_from_file_location("c", "c.py")
        spec.loader.exec_module(module_from_spec(spec))
        """
    )

    assert {"./a/__init__.py", "./a/b.py", "./c.py"} <= seen.names("file")
    assert not os.path.exists("__pycache__")
    assert not os.path.exists("a/__pycache__")


@pytest.mark.parametrize(
    "shadow",
    [
        pytest.param("helper/__init__.py", id="package before module"),
        pytest.param("helper.abi3.so", id="extension before module"),
        pytest.param("colorsys.py", id="module before the standard library"),
        pytest.param("numpy/__init__.py", id="package before an installed one"),
    ],
)
def test_a_module_that_comes_to_shadow_another_is_noticed(project, shadow):
    """The places that Python looked at before it found a module are part of the import."""
    project.write("model.py", "import helper, numpy\nimport colorsys\n")
    project.write("helper.py")
    project.write("helper.py", "X = 1\n")

    seen = project.run("import model")

    assert seen.broken() is None
    project.write(shadow)
    assert seen.broken() is not None


@pytest.mark.parametrize(
    "shadow",
    [pytest.param("colorsys.py", id="module"), pytest.param("numpy.abi3.so", id="extension")],
)
def test_a_file_that_comes_to_hide_behind_a_loaded_module_is_noticed(project, shadow):
    """What a server has imported raises no search: the places before it are looked at all the same."""
    project.write("model.py", "import numpy\nimport colorsys, os, sys\n")
    project.write("statistics/notes.md")

    seen = project.run("import model", before="import numpy, colorsys, statistics")

    assert seen.broken() is None
    project.write(shadow)
    assert seen.broken() is not None


@pytest.mark.parametrize("how", ["import colorsys", "import_module('colorsys')"])
def test_a_file_behind_a_loaded_module_is_refused(project, how):
    """Whether it or the library is imported would depend on what was imported before."""
    project.write("colorsys.py", "X = 1\n")
    project.write("model.py", f"from importlib import import_module\n{how}\n")
    said = """
    from onnxbuild.errors import StepError
    try:
        import model
    except StepError as error:
        print(error.where, error.hint)
    """

    project.run(said, before="import colorsys")

    assert project.printed == ["colorsys.py rename the file, and what imports it"]


def test_a_folder_gives_way_to_a_loaded_module(project):
    """One without an __init__.py is taken last by Python: `onnx/` may hold models."""
    project.write("numpy/model.bin")
    project.write("model.py", "import numpy\n")

    seen = project.run("import model; print(model.numpy.__version__)", before="import numpy")

    assert project.printed
    assert seen.broken() is None
    project.write("numpy/__init__.py")
    assert seen.broken() is not None


def test_other_files_beside_a_module_do_not_count(project):
    """Importing is no listing: a note, a data file or another module beside it changes nothing."""
    project.write("model.py", "import helper\n")
    project.write("helper.py", "X = 1\n")

    seen = project.run("import model")
    for name in ("notes.md", "other.py", "numpy.txt", "data/a.npy", "helper.json"):
        project.write(name)

    assert seen.broken() is None
    assert not seen.names("listing")
    assert not seen.names("machine")


def test_packages_namespaces_and_relative_imports(project):
    """All forms of import work, and count."""
    project.write("pkg/__init__.py", "")
    project.write("pkg/inner/__init__.py", "from ..other import X\nfrom . import leaf\n")
    project.write("pkg/inner/leaf.py", "Y = 2\n")
    project.write("pkg/other.py", "X = 1\n")
    project.write("space/module.py", "Z = 3\n")

    seen = project.run(
        """
        from pkg.inner import X, leaf
        import space.module
        import importlib
        assert (X, leaf.Y, space.module.Z) == (1, 2, 3)
        assert importlib.import_module("pkg.other").X == 1
        """
    )

    expected = {"pkg/__init__", "pkg/inner/__init__", "pkg/inner/leaf", "pkg/other", "space/module"}
    assert seen.names("file") == {f"./{name}.py" for name in expected}
    project.write("space/__init__.py", "")
    assert seen.broken() is not None


def test_tracebacks_and_sources_still_work(project):
    """What a user debugs with, and what torch reads sources with."""
    project.write("model.py", "def fail():\n    raise ValueError('no')  # here\n")

    project.run(
        """
        import inspect, traceback, model
        print(inspect.getsource(model.fail).splitlines()[1].strip())
        try:
            model.fail()
        except ValueError:
            print("# here" in traceback.format_exc())
        """
    )

    assert project.printed == ["raise ValueError('no')  # here", "True"]


def test_a_module_that_is_looked_for_in_vain(project):
    """`try: import x` of project code is noticed when x appears in the project, or is installed."""
    project.write("model.py", "try:\n    import no_such_thing\nexcept ImportError:\n    pass\n")

    seen = project.run("import model")

    assert seen.names("module") == {"no_such_thing"}
    project.write("no_such_thing.py")
    assert seen.broken() == (
        next(fact for fact in seen.facts if fact[0] == "shadows"),
        ("shadows", "no_such_thing"),
    )


def test_preloaded_packages_count_when_project_code_imports_them(project):
    """A server has them in memory: no event tells of it, and what nobody imports does not count."""
    project.write("model.py", "import yaml\nfrom jsonschema import validators\n")
    project.write("other.py", "import importlib\nimportlib.import_module('yaml')\n")
    before = "import yaml, jsonschema.validators, rich"

    seen = project.run("import model", before=before)
    other = project.run("import other", before=before)

    assert {"pyyaml", "jsonschema"} <= seen.names("package")
    # What it requires, and has loaded, comes with it.
    assert "jsonschema-specifications" in seen.names("package")
    assert "rich" not in seen.names("package")
    assert other.names("package") == {"pyyaml"}


def test_packages_count_by_version_and_their_files_do_not(project):
    """An installed package is one fact, whatever of it is read."""
    seen = project.run("import yaml, google.protobuf")

    assert ("package", "pyyaml", installed()["pyyaml"]) in seen.facts
    assert "protobuf" in seen.names("package")
    assert seen.names("file") == set()


def test_asking_for_a_version_counts(project):
    """Present or absent; looking through all of them for entry points does not."""
    seen = project.run(
        """
        from importlib import metadata
        metadata.version("rich")
        try:
            metadata.version("no-such-thing")
        except metadata.PackageNotFoundError:
            pass
        list(metadata.entry_points())
        """
    )

    assert ("package", "rich", installed()["rich"]) in seen.facts
    assert ("package", "no-such-thing", "") in seen.facts
    assert len(seen.names("package")) == 2
    assert not seen.names("listing")


def test_which_distribution_a_file_belongs_to():
    """By name where that tells, else by the records of what was installed."""
    site = next(folder for folder in sites() if os.path.isdir(f"{folder}/yaml"))

    assert owners(f"{site}/numpy/core.py", site) == ("numpy",)
    assert owners(f"{site}/yaml/__init__.py", site) == ("pyyaml",)
    assert owners(f"{site}/numpy.libs/libx.so", site) == ("numpy",)
    assert owners(f"{site}/google/protobuf/any.py", site) == ("protobuf",)
    assert owners(f"{site}/of_nobody.py", site) == ()
    assert "attrs" in requirements("jsonschema")


def test_project_modules_are_dropped(project, monkeypatch):
    """An inline executor imports project code anew in each step; other modules stay."""
    project.write("fresh_module.py", "X = 1\n")
    monkeypatch.syspath_prepend(project.root)

    def work():
        import fresh_module

        return fresh_module.X

    first = project.observe(work)
    stale = project.observe(work)
    names = loader.project_modules([project.root])
    loader.drop_project_modules([project.root])
    project.write("fresh_module.py", "X = 2\n")
    again = project.observe(lambda: work() == 2 or pytest.fail("stale"))
    loader.drop_project_modules([project.root])

    assert names == ["fresh_module"]
    for seen in (first, stale, again):
        assert "./fresh_module.py" in seen.names("file") or seen is stale
    assert "os" in __import__("sys").modules


def test_modules_that_are_no_files_stay(project, monkeypatch):
    """A module that a library makes up, with a relative name for its file, is not the project's."""
    monkeypatch.chdir(project.root)
    made_up = types.ModuleType("made_up")
    made_up.__file__ = "_made_up.py"
    monkeypatch.setitem(sys.modules, "made_up", made_up)

    assert "made_up" not in loader.project_modules([project.root])


def test_an_extension_module_of_the_project_counts(project):
    """Loaded by the linker, not opened by Python."""
    folder = sysconfig.get_config_var("DESTSHARED")
    name = next(
        name
        for name in sorted(os.listdir(folder))
        if name.startswith(("xxlimited", "_xxtest", "audioop"))
    )
    shutil.copy(os.path.join(folder, name), project.path(name))

    seen = project.run(f"import {name.partition('.')[0]}")

    assert f"./{name}" in seen.names("file")


def test_a_module_that_is_no_package_beside_the_installed_ones(project):
    """The bytecode of a single-file library belongs to its distribution."""
    seen = project.run("import typing_extensions")

    assert "typing-extensions" in seen.names("package")
    assert seen.names("file") == set()
