"""`registry explain`: which files decide where an image is asked for, and as whom."""

from __future__ import annotations

from collections.abc import Iterator

from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Flag, Options
from polyarch.cli.frame.network import AUTHORITIES, with_authorities
from polyarch.errors import InputError
from polyarch.golang.json import indented
from polyarch.oci.reference import parse as parse_reference
from polyarch.registry.explaining import ExplainedHost, Explanation, explain

__all__ = ["EXPLAIN"]

_SERVED = {
    "content": "content by its digest, not what a tag stands for",
    "tags": "what a tag stands for",
}


def _explain(options: Options, context: Context) -> int:
    context = with_authorities(options, context)
    name = parse_reference(options.arguments[0])
    form = options.text("format")
    if form not in {"", "json"}:
        raise InputError(f"unknown format {form}", hint="--format json, or nothing for text")
    found = explain(name, context.environ)
    if form:
        context.print(indented(_record(str(name), found)).decode())
        return 0
    for line in _lines(str(name), found):
        context.print(line)
    return 0


def _lines(name: str, found: Explanation) -> Iterator[str]:
    if found.blocked_by:
        yield f"{name} is asked for nowhere: blocked by {', '.join(found.blocked_by)}"
    else:
        yield f"{name} is asked for at"
    for number, host in enumerate(found.hosts, 1):
        yield f"{number}. {host.url}" + (" (a mirror)" if host.is_mirror else "")
        yield from _details(host)
    push = found.push
    if push is not None and push.url != found.hosts[-1].url:
        yield f"and pushed to {push.url}"
        yield from _details(push)
    if found.passed_over:
        yield f"passed over, as others come after: {', '.join(found.passed_over)}"


def _details(host: ExplainedHost) -> Iterator[str]:
    user = f"{host.user}, known from {host.credentials_from}" if host.user else "nobody"
    lines = [
        ("decided by", ", ".join(host.decided_by) or "nothing: this is how it is by itself"),
        ("asked for", _SERVED.get(host.serves, "")),
        ("TLS", host.tls),
        ("CAs", ", ".join(host.authorities) or "those of the machine"),
        ("client certificates", ", ".join(host.certificates)),
        ("headers", ", ".join(host.headers)),
        ("proxy", host.proxy),
        ("user", host.trouble or user),
    ]
    for title, text in lines:
        if text:
            yield f"   {title + ':':<21}{text}"


def _record(name: str, found: Explanation) -> dict[str, object]:
    return {
        "Image": name,
        "Scope": found.scope,
        "Hosts": [_host_record(host) for host in found.hosts],
        "Push": None if found.push is None else _host_record(found.push),
        "BlockedBy": list(found.blocked_by),
        "PassedOver": list(found.passed_over),
    }


def _host_record(host: ExplainedHost) -> dict[str, object]:
    return {
        "URL": host.url,
        "Mirror": host.is_mirror,
        "Serves": host.serves,
        "DecidedBy": list(host.decided_by),
        "TLS": host.tls,
        "CAs": list(host.authorities),
        "ClientCertificates": list(host.certificates),
        "Headers": list(host.headers),
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
    description="Nothing is asked of registries: it tells what a pull would do, and which file or variable says so.",
    flags=(AUTHORITIES, Flag(name="format", help="json, or nothing for text")),
)
