"""Files -> what they define: Compose files make one project, then all HCL is one body over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.bake.config import Config
from polyarch.bake.files import File, parse_body
from polyarch.bake.hcl.body import Body
from polyarch.bake.resolver import Resolver
from polyarch.errors import BakeFileError, InputError
from polyarch.golang.strconv import find_bool
from polyarch.record import field, frozen

__all__ = ["Surroundings", "parse_files"]

_YAML = (".yml", ".yaml")
_HCL = (".json", ".hcl")


@frozen
class Surroundings:
    """What a definition may know of where it is read.

    `variables` are those of `--var`; `builtins` those that bake sets itself. Of the environment nothing is read
    with `BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP`. `directory` is where `.env` is looked for, None for nowhere.
    """

    environ: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    builtins: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = "."
    relative_to_files: bool = False

    @property
    def readable(self) -> Mapping[str, str]:
        """The variables of the environment that a definition may read."""
        disabled = find_bool(self.environ.get("BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP", ""))
        return {} if disabled else self.environ

    def find(self, name: str) -> str | None:
        """Return what a variable is set to from outside, None if it isn't."""
        if name in self.variables:
            return self.variables[name]
        return self.readable.get(name)


def parse_files(files: Sequence[File], around: Surroundings) -> Config:
    """Return what files define. Raises InputError."""
    try:
        return _parse_files(files, around)
    except RecursionError:
        raise InputError(
            "the definition is nested too deep, or refers to itself too often"
        ) from None


def _parse_files(files: Sequence[File], around: Surroundings) -> Config:
    compose: list[File] = []
    bodies: list[Body] = []
    for file in files:
        if _is_compose(file, around):
            compose.append(file)
        else:
            bodies.append(parse_body(file))
    config = Config(targets=(), groups=())
    if compose:
        # Most definitions have no YAML.
        from polyarch.bake.compose.project import read_compose  # noqa: PLC0415

        config = read_compose(compose, around.readable, around.variables, around.directory)
    if bodies:
        resolver = Resolver(bodies, find=around.find, builtins=around.builtins)
        found = resolver.resolve(config.targets, config.groups)
        config = Config(targets=found.targets, groups=found.groups, variables=found.variables)
    return config.based_on_files() if around.relative_to_files else config


def _is_compose(file: File, around: Surroundings) -> bool:
    """Tell whether a file is one of Compose: by its name, or by trying."""
    lower = file.name.lower()
    if lower.endswith(_HCL):
        return False
    if not lower.endswith(_YAML) and _is_hcl_for_sure(file):
        return False
    from polyarch.bake.compose.project import check_compose  # noqa: PLC0415

    try:
        check_compose(file, around.readable, around.variables, around.directory)
    except InputError as error:
        if lower.endswith(_YAML):
            raise
        try:
            parse_body(file)
        except BakeFileError as other:
            raise InputError(
                f"failed to parse {file.name}: parsing yaml: {error}, parsing hcl: {other}"
            ) from other
        return False
    return True


def _is_hcl_for_sure(file: File) -> bool:
    """Tell whether a file without a telling name begins as no YAML does."""
    return file.text.lstrip().startswith(("target ", "group ", "variable ", "function "))
