"""A policy: modules in, decisions out.

A decision needs an evaluation in which nothing was asked for that isn't known. An evaluation that does ask for something ends there,
and what it asked for is the Wish that the caller fulfils before it asks again: so nothing is fetched that no rule looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum

from polyarch.errors import InputError, NotFound
from polyarch.golang.json import indented
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.policies.builtins import ARITIES, Builtins, NeedsChecksum
from polyarch.policies.helpers import HELPERS, HELPERS_NAME
from polyarch.policies.inputs import Env, Input, input_of
from polyarch.policies.told import NOTHING, Source, Told, Wish
from polyarch.record import field, frozen, replace
from polyarch.rego.context import Context
from polyarch.rego.documents import find_value
from polyarch.rego.faults import At, RegoError
from polyarch.rego.modules import parse_module
from polyarch.rego.nodes import Module
from polyarch.rego.program import Program, compile_modules
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Obj, Wanted, plain

__all__ = [
    "CAPS",
    "EXEC_PROXY",
    "Action",
    "Answer",
    "Decision",
    "File",
    "Level",
    "Log",
    "Policy",
    "compiled",
    "read_decision",
    "with_imports",
]

EXEC_PROXY = "exec.proxy"
CAPS = frozenset({EXEC_PROXY})
_DECISION = ("docker", "decision")
Read = Callable[[str], bytes]
"""Returns a file of the policy's by its path. Raises NotFound, InputError."""


class Level(IntEnum):
    """How much a line of the log matters: logrus' numbers."""

    WARNING = 3
    INFO = 4
    DEBUG = 5


Log = Callable[[Level, str], None]


class Action(IntEnum):
    """What a policy says of a source: BuildKit's numbers."""

    ALLOW = 0
    DENY = 1
    CONVERT = 2


@frozen
class File:
    """A module's text, and what messages call it."""

    name: str
    text: str


@frozen
class Decision:
    """What a policy says of a source; `update` is what takes its place (CONVERT)."""

    action: Action
    messages: tuple[str, ...] = ()
    update: Source | None = None


@frozen
class Answer:
    """The value of the rule `decision`, read; `allow` is None if it isn't said."""

    allow: bool | None = None
    messages: tuple[str, ...] = ()
    caps: Mapping[str, bool] = field(default_factory=dict)


def _no_log(_level: Level, _text: str) -> None:
    """Log nothing."""


class Policy:
    """Modules that decide together. What is wrong with them is told when they are first asked."""

    def __init__(self, files: Iterable[File], env: Env, read: Read, log: Log = _no_log) -> None:
        self._files = tuple(files)
        self._env = env
        self._read = read
        self._log = log
        self._program: Program | None = None

    def decide(self, source: Source, told: Told = NOTHING) -> Decision | Wish:
        """Return what is to become of a source, or what has to be known of it first.

        Raises RegoError, InputError for a decision that can't be read, IntegrityError.
        """
        given = input_of(source, told, self._env)
        self._log(Level.INFO, f"checking policy for source {source}")
        self._log(Level.DEBUG, f"policy input: {indented(given.fields).decode()}")
        builtins = Builtins(given, told, self._read, lambda text: self._log(Level.INFO, text))
        try:
            answer = self._answer(builtins)
        except Wanted as wanted:
            return self._wish(source, Wish(fields=frozenset({wanted.field})))
        except NeedsChecksum as needed:
            return self._wish(
                source, Wish(fields=frozenset({"http.checksum"}), checksum=needed.wanted)
            )
        return self._decided(source, answer, builtins)

    def caps(self) -> Mapping[str, bool]:
        """Return what the policy wants of the build as a whole. Raises as `decide`."""
        given = Input(fields={"env": self._env.plain(for_caps=True)})
        return self._answer(Builtins(given, NOTHING, self._read)).caps

    def _wish(self, source: Source, wish: Wish) -> Wish:
        self._log(Level.INFO, f"policy decision for source {source}: resolve missing fields {wish}")
        return wish

    def _answer(self, builtins: Builtins) -> Answer:
        if self._program is None:
            self._program = compiled(self._files, self._read)
        lines: list[tuple[At, str]] = []
        context = Context(
            self._program,
            host=builtins.host(),
            given=builtins.value,
            prints=lambda at, text: lines.append((at, text)),
        )
        value = find_value(context, _DECISION)
        for at, text in lines:
            self._log(Level.INFO, f"{at}: {text}")
        if value is UNDEFINED:
            raise InputError(
                "policy returned zero result", hint="it has no rule data.docker.decision"
            )
        return read_decision(value)

    def _decided(self, source: Source, answer: Answer, builtins: Builtins) -> Decision:
        action = Action.ALLOW if answer.allow else Action.DENY
        if action == Action.ALLOW and builtins.pins:
            pins = sorted(builtins.pins)
            if len(pins) > 1:
                raise InputError(f"multiple image pins set to {source}: {' '.join(pins)}")
            update = _pinned(source, pins[0])
            self._log(
                Level.INFO, f"policy decision for source {source}: convert to {update.identifier}"
            )
            return Decision(action=Action.CONVERT, update=update)
        self._log(Level.INFO, f"policy decision for source {source}: {action.name}")
        for each in answer.messages:
            self._log(Level.INFO, f" - {each}")
        return Decision(action=action, messages=answer.messages)


def _pinned(source: Source, digest: str) -> Source:
    name = parse_reference(source.identifier.removeprefix(IMAGE_SCHEME))
    pinned = parse_reference(f"{replace(name, digest=None)}@{digest}")
    return replace(
        source,
        identifier=f"{IMAGE_SCHEME}{pinned}",
        attributes={**source.attributes, "image.checksum": digest},
    )


def read_decision(value: object) -> Answer:
    """Read the value of `decision`. Raises InputError."""
    if not isinstance(value, Obj):
        raise InputError(f"unexpected policy return type: {plain(value)!r}, an object is expected")
    found = plain(value)
    assert isinstance(found, dict)
    allow = found.get("allow")
    if "allow" in found and not isinstance(allow, bool):
        raise InputError(f"invalid allowed property {allow!r}, expecting bool")
    messages = found.get("deny_msg")
    listed = messages if isinstance(messages, list) else []
    return Answer(
        allow=allow,
        messages=tuple(each for each in listed if isinstance(each, str)),
        caps=_caps(found.get("caps", {})),
    )


def _caps(value: object) -> Mapping[str, bool]:
    if not isinstance(value, dict):
        raise InputError(f"invalid caps property {value!r}, expecting object")
    for name, each in value.items():
        if name not in CAPS:
            raise InputError(f'unknown policy cap "{name}"')
        if not isinstance(each, bool):
            raise InputError(f"invalid caps.{name} property {each!r}, expecting bool")
    return value


# --- modules ---


def compiled(files: Iterable[File], read: Read) -> Program:
    """Return the program of files, of all that they import, and of the helpers. Raises RegoError."""
    modules = [parse_module(HELPERS_NAME, HELPERS)]
    modules += [parse_module(each.name, each.text) for each in files]
    return compile_modules(with_imports(modules, read), ARITIES)


def with_imports(modules: Iterable[Module], read: Read) -> list[Module]:
    """Return modules with those that they import: `data.a.b` is the file `a/b.rego`. Raises RegoError."""
    found = list(modules)
    known = {module.package for module in found}
    for module in found:
        for each in module.imports:
            package = each.path[1:]
            if each.path[0] != "data" or package in known or not package:
                continue
            name = "/".join(package) + ".rego"
            try:
                text = read(name).decode("utf-8", "replace")
            except NotFound:
                raise RegoError(
                    f"import {'.'.join(each.path)} not found for module {module.name}",
                    each.at,
                    kind="rego_compile_error",
                ) from None
            known.add(package)
            # As buildx does it: what a file is called counts, not what it calls itself.
            found.append(parse_module(name, text)._replace(package=package))
    return found
