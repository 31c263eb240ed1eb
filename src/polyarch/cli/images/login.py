"""`login` and `logout`: credentials of registries, checked and kept where docker keeps them."""

from __future__ import annotations

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.cli.frame.prompt import ask, ask_secret
from polyarch.errors import InputError
from polyarch.registry.dockerconfig import config_key, erase, store
from polyarch.registry.login import check_credentials

__all__ = ["LOGIN", "LOGOUT"]


_PIPE = "echo PASSWORD | polyarch login -u USER --password-stdin REGISTRY"


def _login(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    key = config_key(options.arguments[0] if options.arguments else "")
    user, password = _who(options, context)
    check_credentials(context.environ, key, user, password)
    path = store(context.environ, key, user, password)
    if path:
        context.warn(f"WARNING! Your password is kept readable in {path}.")
        context.warn("A credential helper (credsStore in that file) would keep it safer.")
    context.print("Login Succeeded")
    return 0


def _given_password(options: Options, context: Context) -> str:
    """Return the password that flags give, or that standard input has; "" is neither. Raises InputError."""
    if options.is_set("password-stdin"):
        if options.given("password"):
            raise InputError("--password and --password-stdin are mutually exclusive")
        if not options.text("username"):
            raise InputError("Must provide --username with --password-stdin", hint=_PIPE)
        return context.stdin.read().rstrip("\r\n")
    if options.given("password"):
        context.warn("WARNING! Others can see a password on the command line: use --password-stdin")
    return options.text("password")


def _who(options: Options, context: Context) -> tuple[str, str]:
    user, password = options.text("username"), _given_password(options, context)
    if (not user or not password) and not context.stdin.isatty():
        raise InputError(
            "Cannot perform an interactive login from a non TTY device",
            hint=_PIPE,
        )
    user = user or ask("Username: ", context)
    password = password or ask_secret("Password: ", context)
    if not user or not password:
        raise InputError("user and password can't be empty", hint=_PIPE)
    return user, password


LOGIN = Command(
    usage="[OPTIONS] [SERVER]",
    run=_login,
    most=1,
    completes="registries",
    example="$ echo $TOKEN | polyarch login -u you --password-stdin registry.example",
    description="Without a server, that is Docker Hub.",
    flags=(
        AUTHORITIES,
        Flag(name="username", short="u", help="Username"),
        Flag(name="password", short="p", help="Password"),
        Flag(name="password-stdin", kind=Kind.SWITCH, help="Take the password from stdin"),
    ),
)


def _logout(options: Options, context: Context) -> int:
    key = config_key(options.arguments[0] if options.arguments else "")
    if erase(context.environ, key):
        context.print(f"Removing login credentials for {key}")
    else:
        context.print(f"Not logged in to {key}")
    return 0


LOGOUT = Command(
    usage="[SERVER]",
    run=_logout,
    most=1,
    completes="registries",
    example="$ polyarch logout registry.example",
    description="Without a server, that is Docker Hub.",
)
