"""`registry explain`: which files decide where an image is asked for, and as whom."""

from __future__ import annotations

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.oci.reference import parse as parse_reference
from polyarch.registry.explaining import ExplainedHost, explain

__all__ = ["EXPLAIN"]


def _explain(options: Options, context: Context) -> int:
    name = parse_reference(options.arguments[0])
    form = options.text("format")
    if form not in {"", "json"}:
        raise InputError(f"unknown format {form}", hint="--format json, or nothing for text")
    hosts = explain(name, context.environ)
    if form:
        record = {"Image": str(name), "Hosts": [_record(host) for host in hosts]}
        context.print(indented(record).decode())
        return 0
    context.print(f"{name} is asked for at")
    for number, host in enumerate(hosts, 1):
        context.print(f"{number}. {host.url}" + (" (a mirror)" if host.is_mirror else ""))
        for title, text in _lines(host):
            context.print(f"   {title + ':':<21}{text}")
    return 0


def _lines(host: ExplainedHost) -> list[tuple[str, str]]:
    user = f"{host.user}, known from {host.credentials_from}" if host.user else "nobody"
    lines = [
        ("decided by", ", ".join(host.decided_by) or "nothing: this is how it is by itself"),
        ("TLS", host.tls),
        ("CAs", ", ".join(host.authorities) or "those of the machine"),
        ("client certificates", ", ".join(host.certificates)),
        ("proxy", host.proxy),
        ("user", host.trouble or user),
    ]
    return [(title, text) for title, text in lines if text]


def _record(host: ExplainedHost) -> dict[str, object]:
    return {
        "URL": host.url,
        "Mirror": host.is_mirror,
        "DecidedBy": list(host.decided_by),
        "TLS": host.tls,
        "CAs": list(host.authorities),
        "ClientCertificates": list(host.certificates),
        "Proxy": host.proxy,
        "User": host.user,
        "CredentialsFrom": host.credentials_from,
        "Trouble": host.trouble,
    }


EXPLAIN = Command(
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    run=_explain,
    least=1,
    most=1,
    completes="images",
    example="$ polyarch registry explain registry.example/you/app",
    description="Nobody is asked anything: it tells what a pull would do, and which file or variable says so.",
    flags=(Flag(name="format", help="json, or nothing for text"),),
)
