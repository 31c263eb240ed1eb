"""Files -> what they define: Compose files make one project, then all HCL is one body over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.bakefile.access import Access
from polyarch.bakefile.config import Config
from polyarch.bakefile.files import File, parse_body
from polyarch.bakefile.hcl.body import Body
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.includes import Gathered, Includes, Part, Shared, Source
from polyarch.bakefile.prefixed import prefixed
from polyarch.bakefile.resolver import Resolver
from polyarch.bakefile.unknown import unknown_names
from polyarch.errors import BakeFileError, InputError
from polyarch.golang.strconv import find_bool, quote
from polyarch.record import field, frozen

__all__ = ["Surroundings", "parse_files"]

_YAML = (".yml", ".yaml")
_HCL = (".json", ".hcl")


@frozen
class Surroundings:
    """What a definition may know of where it is read.

    `variables` are those of `--var`; `builtins` those that bake sets itself. Of the environment nothing is read
    with `BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP`. `directory` is where `.env` is looked for, None for nowhere. `access`
    reads what files name.
    """

    environ: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    builtins: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = "."
    relative_to_files: bool = False
    access: Access = field(default_factory=Access)

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
        return _Definition(around).parse(files, ())
    except RecursionError:
        raise InputError(
            "the definition is nested too deep, or refers to itself too often"
        ) from None


class _Definition:
    """Parses files, and definitions that they include."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._shared = Shared()

    def parse(self, files: Sequence[File], chain: tuple[str, ...]) -> Config:
        """Return what files define, to which the files of `chain` led. Raises InputError."""
        around = self._around
        read = [(each, None if _is_compose(each, around) else parse_body(each)) for each in files]
        includes = Includes(around.access, around.builtins, chain, self._shared)
        gathered = includes.gather(read)
        is_based = around.relative_to_files or bool(chain)
        config = self._with_parts(_compose(gathered.sources, around, is_based=is_based), gathered)
        bodies: list[Body] = []
        directories: list[str | None] = []
        for source in gathered.sources:
            if source.body is not None:
                bodies.append(source.body)
                based = is_based or source.is_included
                directories.append(source.file.directory if based else None)
        if bodies:
            resolver = Resolver(
                bodies, find=around.find, builtins=around.builtins, directories=directories
            )
            found = resolver.resolve(config.targets, config.groups)
            variables = {each.name: each for each in (*config.variables, *found.variables)}
            config = Config(
                targets=found.targets,
                groups=found.groups,
                variables=tuple(variables.values()),
                warnings=(*config.warnings, *unknown_names(bodies)),
            )
        return config.based_on_files()

    def _with_parts(self, config: Config, gathered: Gathered) -> Config:
        for part in gathered.parts:
            config = _joined(config, self._part(part), part)
        return config

    def _part(self, part: Part) -> Config:
        return prefixed(self.parse(part.files, part.chain), part.prefix)


def _compose(sources: Sequence[Source], around: Surroundings, *, is_based: bool) -> Config:
    files = [each.file for each in sources if each.body is None]
    if not files:
        return Config(targets=(), groups=())
    # Most definitions have no YAML.
    from polyarch.bakefile.compose.project import read_compose  # noqa: PLC0415

    return read_compose(files, around, files[0].directory if is_based else None)


def _joined(config: Config, other: Config, part: Part) -> Config:
    """Return both definitions together. Raises HclError for a name that both have."""
    for name in other.names:
        if name in config.names:
            detail = f"{part.files[0].name} defines {quote(name)}, which is defined already."
            error = HclError("Two definitions of a name", detail, part.at)
            error.hint = 'include it with another prefix: { path = "…", prefix = "…" }'
            raise error
    return Config(
        targets=(*config.targets, *other.targets),
        groups=(*config.groups, *other.groups),
        variables=(*config.variables, *other.variables),
        warnings=(*config.warnings, *other.warnings),
    )


def _is_compose(file: File, around: Surroundings) -> bool:
    """Tell whether a file is a Compose file, by its name or by parsing it."""
    lower = file.name.lower()
    if lower.endswith(_HCL):
        return False
    if not lower.endswith(_YAML) and _is_hcl_for_sure(file):
        return False
    from polyarch.bakefile.compose.project import check_compose  # noqa: PLC0415

    try:
        check_compose(file, around)
    except InputError as error:
        if lower.endswith(_YAML):
            raise
        try:
            parse_body(file)
        except BakeFileError as other:
            # What got further into the file is likelier to be what it should be.
            nearer = max(error, other, key=lambda each: each.line or 0)
            raise BakeFileError(
                f"failed to parse {file.name}: parsing yaml: {error}, parsing hcl: {other}",
                place=nearer.place,
            ) from other
        return False
    return True


def _is_hcl_for_sure(file: File) -> bool:
    """Tell whether a file, whose name says nothing, begins like HCL and unlike any YAML."""
    return file.text.lstrip().startswith(("target ", "group ", "variable ", "function "))
