"""Tests of policies: rules `test_…` in files `…_test.rego`, run against the policy of a Dockerfile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from polyarch.errors import InputError, NotFound
from polyarch.policies.builtins import ARITIES, Builtins
from polyarch.policies.helpers import HELPERS, HELPERS_NAME
from polyarch.policies.inputs import Input
from polyarch.policies.policy import Answer, read_decision, with_imports
from polyarch.policies.told import NOTHING, Source
from polyarch.record import frozen
from polyarch.rego.context import Context
from polyarch.rego.documents import find_value
from polyarch.rego.modules import parse_module
from polyarch.rego.nodes import Array, Module, Object, Ref, Rule, Scalar, Statement, Term, Var
from polyarch.rego.program import Program, compile_modules
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Wanted

__all__ = ["TestResult", "load_tests", "run_tests"]

_SUFFIX = "_test.rego"
JSON = dict[str, object]
Read = Callable[[str], bytes]
Effective = Callable[[Source], Input]
"""Returns the input for a source once all that its policy asks for is known."""


@frozen
class TestResult:
    """What came of a test: `allow` and `messages` are those of the policy's decision, None if it has none."""

    __test__ = False

    name: str
    passed: bool
    fields: JSON | None
    answer: Answer | None
    missing: tuple[str, ...] = ()
    """Fields that the policy looks at and the test's input lacks, as `image.repo`."""

    @property
    def resolves(self) -> tuple[str, ...]:
        """Of which kinds of sources something had to be found out."""
        kinds = {each.partition(".")[0] for each in self.missing}
        return tuple(sorted(kinds & {"image", "git"}))


def load_tests(path: str, read: Read) -> list[Module]:
    """Return the modules of a file, or of all tests in a directory. Raises NotFound, InputError, RegoError."""
    path = path.rstrip("/") or "."
    place = Path(path)
    if not place.exists():
        raise NotFound(f"stat {path}: no such file or directory")
    if place.is_dir():
        names = sorted(each.name for each in place.iterdir() if each.name.endswith(_SUFFIX))
        files = [name if path == "." else f"{path}/{name}" for name in names]
        if not files:
            raise InputError(
                "no policy tests found", hint=f"files of tests are called NAME{_SUFFIX}"
            )
    elif not path.endswith(_SUFFIX):
        raise InputError(f"test file must have {_SUFFIX} suffix: {path}")
    else:
        files = [path]
    return [parse_module(each, read(each).decode("utf-8", "replace")) for each in files]


def run_tests(
    filename: str, tests: Iterable[Module], wanted: str, read: Read, effective: Effective
) -> Iterator[TestResult]:
    """Run the tests whose names have `wanted` in them against a Dockerfile's policy.

    Raises InputError if there are none, RegoError, NotFound.
    """
    name = f"{filename}.rego"
    policy = parse_module(name, read(name).decode("utf-8", "replace"))
    own = [parse_module(HELPERS_NAME, HELPERS), policy]
    listed = list(tests)
    program = compile_modules(with_imports([*own, *listed], read), ARITIES)
    found = {
        rule.name: module.package for module in listed for rule in module.rules if _is_test(rule)
    }
    chosen = sorted(each for each in found if wanted in each)
    if not chosen:
        raise InputError("no tests found")
    for each in chosen:
        run = _Run(program=program, package=found[each], read=read)
        yield run.result(each, _given_to(each, run.package, listed), own, effective)


def _is_test(rule: Rule) -> bool:
    value = rule.value.value if isinstance(rule.value, Scalar) else None
    return rule.name.startswith("test_") and rule.arguments is None and isinstance(value, bool)


@frozen
class _Run:
    program: Program
    package: tuple[str, ...]
    read: Read

    def result(
        self, name: str, given: JSON | None, own: Iterable[Module], effective: Effective
    ) -> TestResult:
        """Run a test, and show what the policy decides about its input."""
        used = _effective(given, effective)
        passed = self._value(name, used) is True
        answer = None
        try:
            value = self._value("decision", used)
            answer = read_decision(value) if value is not UNDEFINED else None
        except InputError:
            answer = None
        fields = used.fields if used is not None else {}
        looked = [
            each for module in own if module.package == self.package for each in _inputs(module)
        ]
        missing = sorted({each for each in looked if used is not None and not _has(fields, each)})
        return TestResult(
            name=name,
            passed=passed,
            fields=None if used is None else fields,
            answer=answer,
            missing=tuple(missing if used is not None else sorted(set(looked))),
        )

    def _value(self, name: str, used: Input | None) -> object:
        builtins = Builtins(used or Input(fields={}), NOTHING, self.read)
        given = UNDEFINED if used is None else builtins.value
        context = Context(self.program, host=builtins.host(), given=given)
        try:
            return find_value(context, (*self.package, name))
        except Wanted:
            return UNDEFINED


# --- inputs of tests ---


def _given_to(name: str, package: tuple[str, ...], tests: Iterable[Module]) -> JSON | None:
    """Return the input that a test replaces its own by. Raises InputError for several."""
    found: list[object] = []
    for module in tests:
        for rule in module.rules:
            if module.package == package and rule.name == name:
                found += [_literal(each, name) for each in _replacements(rule.body)]
    different = [each for each in found if each != found[0]]
    if different:
        raise InputError(f"multiple input overrides for {name}")
    if not found:
        return None
    value = found[0]
    if not isinstance(value, dict):
        raise InputError(f"failed to decode test input for {name}: it is no object")
    return value


def _replacements(body: Iterable[Statement]) -> Iterator[Term]:
    for statement in body:
        for each in statement.withs:
            if each.target == ("input",):
                yield each.value


def _literal(term: Term, name: str) -> object:
    match term:
        case Scalar(value=value):
            return value
        case Array(items=items):
            return [_literal(each, name) for each in items]
        case Object(pairs=pairs):
            return {str(_literal(key, name)): _literal(each, name) for key, each in pairs}
    raise InputError(f"failed to decode test input for {name}: it has to be written out")


def _effective(given: JSON | None, effective: Effective) -> Input | None:
    """Return what the policy itself is asked about: the source that a test names, or the bare input."""
    if given is None:
        return None
    source = _source(given)
    if source is None:
        return Input(fields=given)
    found = effective(source)
    env = given.get("env")
    return Input(
        fields={**found.fields, "env": env} if env else found.fields, pending=found.pending
    )


def _source(given: JSON) -> Source | None:
    image = given.get("image")
    if not isinstance(image, dict):
        return None
    name = next((image[each] for each in ("ref", "fullRepo", "repo") if image.get(each)), None)
    if not isinstance(name, str):
        return None
    if (tag := image.get("tag")) and ":" not in name:
        name = f"{name}:{tag}"
    return Source(identifier=f"docker-image://{name}")


def _inputs(node: object) -> Iterator[str]:
    """Give the fields of the input that a module looks at."""
    if isinstance(node, Ref) and isinstance(node.head, Var) and node.head.name == "input":
        steps = [each.value for each in node.path[:2] if isinstance(each, Scalar)]
        if len(steps) == min(2, len(node.path)):
            yield ".".join(map(str, steps))
    if isinstance(node, tuple) and not isinstance(node, Scalar):
        for each in node:
            yield from _inputs(each)


def _has(fields: Mapping[str, object], path: str) -> bool:
    value: object = fields
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return False
        value = value[step]
    return True
