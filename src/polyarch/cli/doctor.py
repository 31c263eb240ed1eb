"""`doctor`: what this machine can do, whether the store is sound, and how to mend the rest."""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.cli.command import Command, Context
from polyarch.cli.doctor_machine import (
    EngineChecks,
    credentials,
    disk,
    emulators,
    kernel,
    subordinate_ids,
    unprivileged_names,
)
from polyarch.cli.doctor_report import Check, Grade, Report
from polyarch.cli.doctor_store import StoreState, left_behind, look_at_store
from polyarch.cli.engine import enter
from polyarch.cli.options import Flag, Kind, Options
from polyarch.errors import InputError, NamespaceForbidden, StoreError
from polyarch.paths import state_folder
from polyarch.store.checkup import debris
from polyarch.store.store import Store

__all__ = ["DOCTOR"]

_FORMATS = ("text", "json")


def _run(options: Options, context: Context) -> int:
    form = options.text("format")
    if form not in _FORMATS:
        raise InputError(f"unknown format {form!r}", hint=f"use {' or '.join(_FORMATS)}")
    root = state_folder(context.environ)
    checks = [kernel()]
    names = unprivileged_names()
    if names:
        checks.append(subordinate_ids(names=names))
    checks += [credentials(context), disk(context), *left_behind(root)]
    swept = debris(root)
    # Of the machine's handlers the engine sees less.
    architectures = tuple(emulators(context))
    try:
        context = enter(context)
    except NamespaceForbidden as error:
        checks.append(Check(name="namespaces", grade=Grade.FAIL, text=str(error), mend=error.hint))
    examined, state = _examine(options, context, swept)
    report = Report(
        checks=(*checks, *examined, *architectures),
        is_sound=state.is_sound if state is not None else None,
    )
    context.stdout.write(report.json() if form == "json" else report.text())
    return 0 if report.is_healthy else 1


def _examine(
    options: Options, context: Context, swept: tuple[str, ...]
) -> tuple[list[Check], StoreState | None]:
    """Try what builds do, and look at the store; it is made if it isn't there, as builds do."""
    root = state_folder(context.environ)
    try:
        with Store(root, works=False) as store:
            checks = list(_engine(context, store))
            state = look_at_store(
                store, swept, deep=options.is_set("deep"), mend=options.is_set("repair")
            )
    except StoreError as error:
        failed = Check(name="store", grade=Grade.FAIL, text=str(error), mend=error.hint)
        return [*_engine(context, None), failed], None
    return [*checks, *state.checks], state


def _engine(context: Context, store: Store | None) -> Iterator[Check]:
    if context.namespaces is not None:
        yield from EngineChecks(context=context, namespaces=context.namespaces, store=store).run()


DOCTOR = Command(
    usage="[OPTIONS]",
    run=_run,
    example=(
        "$ polyarch doctor\n$ polyarch doctor --deep --format json\n$ polyarch doctor --repair"
    ),
    description=(
        "Behind -> stands the command that makes it good. The status is 1 if nothing can be built, or\n"
        "if the store is not sound; warnings are none of that."
    ),
    flags=(
        Flag(name="deep", kind=Kind.SWITCH, help="Read every blob of the store, and hash it"),
        Flag(name="format", default="text", help="Format the output", choices=_FORMATS),
        Flag(
            name="repair",
            kind=Kind.SWITCH,
            help="Remove what is damaged or astray in the store; builds make it anew",
        ),
    ),
)
