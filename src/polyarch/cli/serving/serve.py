"""`serve` and `dial-stdio`: answer clients of BuildKit's API, with the same engine and the same store as other commands."""

from __future__ import annotations

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import DAEMONS
from polyarch.buildkit.needs import require_grpc
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.engine import open_engine
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.serving.answers import answers
from polyarch.cli.serving.daemon import DAEMON_FLAGS, Daemon, read_daemon
from polyarch.record import replace
from polyarch.serve.address import Address, Certificates, default_address, parse_address

__all__ = ["DIAL", "SERVE"]


def _serve(options: Options, context: Context) -> int:
    certificates = Certificates(
        certificate=options.text("tlscert"),
        key=options.text("tlskey"),
        authority=options.text("tlscacert"),
    )
    text = options.text("addr") or default_address(context.environ)
    address = parse_address(text, certificates, is_open=options.is_set("insecure"))
    return _answer(address, certificates, context, read_daemon(options, context.environ))


def _dial(options: Options, context: Context) -> int:
    builder = working_builder(context, SavedBuilders(context.environ), elsewhere=DAEMONS)
    if builder.is_elsewhere:
        require_grpc()
        # All that drivers are made of, for those who have such builders.
        from polyarch.cli.serving.passing import pass_on  # noqa: PLC0415

        return pass_on(builder, options, context)
    daemon = read_daemon(options, context.environ)
    return _answer(Address(), Certificates(), context, daemon)


def _answer(address: Address, certificates: Certificates, context: Context, daemon: Daemon) -> int:
    require_grpc()
    context = replace(context, environ={**context.environ, **daemon.environ})
    with open_engine(context) as engine:
        # gRPC and asyncio, after what the engine forks.
        from polyarch.serve.server import Served, serve  # noqa: PLC0415

        def ready(where: str) -> None:
            context.warn(f"serving at {where}")
            context.stderr.flush()

        serve(
            Served(
                engine=engine,
                address=address,
                certificates=certificates,
                answers=answers,
                on_ready=ready,
                allowed=daemon.allowed,
            )
        )
    return 0


SERVE = Command(
    usage="[OPTIONS]",
    run=_serve,
    needs_engine=True,
    example=(
        "$ polyarch serve --addr unix:///run/user/1000/polyarch.sock\n"
        "$ docker buildx create --driver remote --name here unix:///run/user/1000/polyarch.sock\n"
        "$ docker buildx build --builder here -t NAME --push ."
    ),
    description=(
        "Answers docker buildx, buildctl and all else that speaks BuildKit's API, for as long as it runs. Whoever\n"
        "reaches it may do what you may: the socket is yours alone, and a port of other machines needs certificates."
    ),
    flags=(
        *DAEMON_FLAGS,
        Flag(name="addr", help="Where to listen: unix://PATH, tcp://HOST:PORT or stdio"),
        Flag(
            name="insecure",
            kind=Kind.SWITCH,
            help="Let other machines in without asking for clients' certificates",
        ),
        Flag(name="tlscacert", help="CA of the certificates that clients must have"),
        Flag(name="tlscert", help="Certificate of the server"),
        Flag(name="tlskey", help="Key of that certificate"),
    ),
)
DIAL = Command(
    usage="[OPTIONS]",
    run=_dial,
    needs_engine=True,
    example="$ ssh HOST polyarch dial-stdio",
    description=(
        "Answers one client of BuildKit's API over standard input and output, and ends with it: builders of other\n"
        "machines reach this one by ssh, and nothing has to run here before. With a builder of other machines it passes\n"
        "the client on to its daemon."
    ),
    flags=(
        *DAEMON_FLAGS,
        Flag(name="platform", help="Platform that the builder's node is to be for"),
        Flag(name="progress", default="none", help="Say on standard error which builder it is"),
    ),
)
