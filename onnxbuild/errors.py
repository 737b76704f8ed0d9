"""Every error that a user can meet, in one tree.

::

    OnnxbuildError            exit 1
    ├── UsageError            exit 2   the call is wrong
    │   └── RecipeError       exit 2   the recipe is wrong; carries every mistake found
    ├── StepError             exit 1   a step could not do its work
    │   ├── ModelError                 the model cannot be loaded or run
    │   ├── DataError                  a data entry or its values are unusable
    │   ├── ExportError                no exporter gives what the recipe asks
    │   ├── StageError                 a stage cannot work on this model
    │   └── GateError         exit 3   a variant missed what the recipe asks of it
    ├── LockError             exit 1   a model came out that is not the one that is locked
    ├── StoreError            exit 1   the store cannot be read or written
    ├── ResourceError         exit 1   the machine has not what the build will take
    └── ExecutorError         exit 1   workers cannot be started or have gone
"""


class OnnxbuildError(Exception):
    """Something that the user can act on: what is wrong, where, and what to do."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what if not self.where else f"{self.where}: {self.what}"]
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class UsageError(OnnxbuildError):
    """The command line or the call is wrong."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe is wrong. `mistakes` holds all that was found, each an `OnnxbuildError`."""

    def __init__(self, mistakes: "list[OnnxbuildError]") -> None:
        self.mistakes = mistakes
        count = len(mistakes)
        super().__init__(
            f"{count} mistake{'s' if count != 1 else ''} in the recipe",
            where=mistakes[0].where if mistakes else "",
        )

    def __str__(self) -> str:
        return "\n\n".join(str(mistake) for mistake in self.mistakes)


class StepError(OnnxbuildError):
    """A step could not do its work."""


class ModelError(StepError):
    """The model cannot be loaded, or does not run on the inputs that the recipe declares."""


class DataError(StepError):
    """A data entry cannot be read, or its values do not fit the model's inputs."""


class ExportError(StepError):
    """No exporter gives what the recipe asks for."""


class StageError(StepError):
    """A stage cannot do its work on this model."""


class GateError(StepError):
    """A variant missed what the recipe asks of it, and was not published."""

    exit_code = 3


class LockError(OnnxbuildError):
    """A model came out that is not the one that is locked, and was not published."""


class StoreError(OnnxbuildError):
    """The store cannot be read or written."""


class ResourceError(OnnxbuildError):
    """The machine has not the memory, or the disk, that the build will take."""


class ExecutorError(OnnxbuildError):
    """Workers cannot be started, or have gone."""
