"""`worker`: carry out builds for a Dask cluster."""

from __future__ import annotations

import os

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cluster.address import Certificates, check_certificates, parse_address
from polyarch.cluster.needs import require_dask
from polyarch.errors import InputError
from polyarch.platforms import parse_list

__all__ = ["WORKER"]


def _run(options: Options, context: Context) -> int:
    address = parse_address(options.arguments[0])
    certificates = Certificates(
        authority=options.text("tlscacert"),
        certificate=options.text("tlscert"),
        key=options.text("tlskey"),
    )
    check_certificates(address, certificates)
    jobs = options.text("jobs") or str(os.cpu_count() or 1)
    if not jobs.isdecimal() or not int(jobs):
        raise InputError(f"--jobs takes a number of builds at once, not {jobs!r}")
    require_dask()
    from polyarch.cluster.member import Member, native_platforms, work  # noqa: PLC0415

    platforms = parse_list(options.values("platform")) or native_platforms(context.environ)

    def ready(name: str) -> None:
        shown = ", ".join(map(str, platforms))
        context.warn(f"worker {name} builds for {shown}, {jobs} at once")
        context.stderr.flush()

    work(
        Member(
            address=address,
            platforms=platforms,
            jobs=int(jobs),
            name=options.text("name"),
            certificates=certificates,
        ),
        ready,
    )
    return 0


WORKER = Command(
    usage="[OPTIONS] SCHEDULER",
    run=_run,
    least=1,
    most=1,
    example=(
        "$ polyarch worker tcp://scheduler.example:8786\n"
        "$ polyarch create --name farm --driver dask tcp://scheduler.example:8786"
    ),
    description=(
        "Joins a Dask cluster and carries out builds for the platforms that run natively here, until it is ended.\n"
        "Whoever may give tasks to the cluster may run what they like on it: keep its scheduler to yourself, or have\n"
        "it ask for certificates (tls://)."
    ),
    flags=(
        Flag(name="jobs", help="How many builds at once; as many as there are processors, else"),
        Flag(name="name", help="Name of the worker, which is shown with its steps"),
        Flag(
            name="platform",
            kind=Kind.LIST,
            help="Platforms to build for, emulated or not, in place of those that run natively",
            completes="platforms",
        ),
        Flag(name="tlscacert", help="CA of the cluster's certificates"),
        Flag(name="tlscert", help="Certificate of the worker"),
        Flag(name="tlskey", help="Key of that certificate"),
    ),
)
