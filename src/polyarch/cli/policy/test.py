"""`policy test`: tests of a policy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.policy.sources import HERE, open_finder
from polyarch.golang.json import indented
from polyarch.platforms import host
from polyarch.policies.checking import decide
from polyarch.policies.finding import Finder
from polyarch.policies.inputs import Env, Input, input_of
from polyarch.policies.policy import Answer, File, Policy
from polyarch.policies.testing import TestResult, load_tests, run_tests
from polyarch.policies.told import NOTHING, Source, Told, Wish
from polyarch.record import replace

__all__ = ["TEST"]


def _test(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    filename = options.text("filename")
    failed = False
    with ExitStack() as stack:
        effective = _effective(filename, lambda: stack.enter_context(open_finder(context)))
        tests = load_tests(options.arguments[0], HERE.read)
        for result in run_tests(filename, tests, options.text("run"), HERE.read, effective):
            _show(result, context)
            failed = failed or not result.passed
    return 1 if failed else 0


def _effective(filename: str, opened: Callable[[], Finder]) -> Callable[[Source], Input]:
    """Return what finds out about the sources that tests name; nothing is opened before one is asked about."""
    finders: list[Finder] = []
    name = f"{filename}.rego"

    def find(source: Source, wish: Wish) -> Told:
        if not finders:
            finders.append(opened())
        return finders[0].find(source, wish)

    def effective(source: Source) -> Input:
        source = replace(source, platform=host())
        found = [NOTHING]

        def noted(asked: Source, wish: Wish) -> Told:
            found.append(find(asked, wish))
            return found[-1]

        text = HERE.read(name).decode("utf-8", "replace")
        policy = Policy([File(name=name, text=text)], Env(args={}, labels={}), HERE.read)
        decide(policy, source, noted)
        return input_of(source, found[-1])

    return effective


def _decision(answer: Answer) -> dict[str, object]:
    """Return what a policy has decided, without what it didn't say."""
    told = {"allow": answer.allow, "deny_msg": list(answer.messages), "caps": dict(answer.caps)}
    return {name: each for name, each in told.items() if each not in (None, [], {})}


def _show(result: TestResult, context: Context) -> None:
    answer = result.answer
    allow = "n/a" if answer is None or answer.allow is None else str(answer.allow).lower()
    words = f"allow={allow}"
    if answer is not None and answer.messages:
        words += f", deny_msg={'; '.join(answer.messages)}"
    context.print(f"{result.name}: {'PASS' if result.passed else 'FAIL'} ({words})")
    if result.passed:
        return
    if result.fields is None:
        context.print("input: <nil>")
    else:
        context.print(f"input:\n{indented(result.fields).decode()}")
    if answer is None:
        context.print("decision: <nil>")
    else:
        context.print(f"decision:\n{indented(_decision(answer)).decode()}")
    if result.missing:
        context.print(f"missing_input: {', '.join(f'input.{each}' for each in result.missing)}")
    if result.resolves:
        context.print(f"metadata_resolve: {', '.join(result.resolves)}")


TEST = Command(
    usage="<path>",
    run=_test,
    needs_engine=True,
    least=1,
    most=1,
    example="$ polyarch policy test .\n$ polyarch policy test --run allowed tests/Dockerfile_test.rego",
    flags=(
        AUTHORITIES,
        Flag(name="filename", default="Dockerfile", help="Name of the Dockerfile to validate"),
        Flag(name="run", help="Run only tests with name containing this substring"),
    ),
)
