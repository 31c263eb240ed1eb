"""Addresses of daemons, and what they mean.

    unix:///run/buildkit/buildkitd.sock
    docker:///var/run/docker.sock           the daemon inside of a Docker engine
    tcp://HOST:PORT                         with TLS if the node's options name a CA or a certificate
    docker-container://NAME                 docker exec -i NAME buildctl dial-stdio
    podman-container://NAME, nerdctl-container://NAME
    kube-pod://NAME[?namespace=N&container=C&context=X]
    ssh://[USER@]HOST[:PORT]                ssh HOST buildctl dial-stdio

What isn't a socket is a program that passes bytes on, on its standard input and output.

Source: BuildKit's `client/connhelper`, buildx's driver `remote`.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from polyarch.buildkit.lastwords import LastWords
from polyarch.errors import InputError
from polyarch.record import field, frozen

__all__ = ["DIAL", "Target", "parse_target"]

DIAL = ("buildctl", "dial-stdio")
"""The program beside a daemon that passes bytes on to it."""
_CONTAINERS = ("docker-container", "podman-container", "nerdctl-container")
"""Schemes of daemons in containers: the engine's program comes first."""
_KINDS = ", ".join(
    f"{each}://" for each in ("unix", "docker", "tcp", *_CONTAINERS, "kube-pod", "ssh")
)


@frozen
class Target:
    """Where a daemon is. One of the four: a socket's path, a host and its port, a program, what is dialed.

    `engine` is the address of a Docker engine that has to be asked for its BuildKit: who knows engines dials it. `dial`
    returns a connected socket, or raises MachineError; `words` say what is behind it why it hung up, where anything does.
    """

    path: str = ""
    host: str = ""
    port: int = 0
    program: tuple[str, ...] = ()
    engine: str = ""
    dial: Callable[[], socket.socket] | None = field(default=None, compare=False, repr=False)
    words: LastWords | None = field(default=None, compare=False, repr=False)
    tls: Mapping[str, str] = field(default_factory=dict)
    """`cacert`, `cert`, `key` and `servername`, as the driver's options have them."""


def parse_target(address: str, options: Mapping[str, str]) -> Target:
    """Understand the address of a daemon and a node's options. Raises InputError."""
    kind, separator, rest = address.partition("://")
    tls = {
        name: options[name] for name in ("cacert", "cert", "key", "servername") if options.get(name)
    }
    if not separator:
        raise InputError(f"invalid endpoint {address!r}", hint=f"there are {_KINDS}")
    if kind == "unix":
        return Target(path=rest)
    if kind == "docker":
        return Target(engine=f"unix://{rest or '/var/run/docker.sock'}")
    if kind == "tcp":
        url = urlsplit(address)
        if not url.hostname or url.port is None:
            raise InputError(f"invalid endpoint {address!r}", hint="write tcp://HOST:PORT")
        if ("cert" in tls and "key" not in tls) or ("key" in tls and "cert" not in tls):
            raise InputError(
                "a client certificate has two files", hint="give both options, cert and key"
            )
        return Target(host=url.hostname, port=url.port, tls=tls)
    return Target(program=_program(kind, address))


def _host(url: SplitResult) -> str:
    return unquote(url.hostname or url.netloc)


def _program(kind: str, address: str) -> tuple[str, ...]:
    url = urlsplit(address)
    name = _host(url)
    query = {key: values[-1] for key, values in parse_qs(url.query).items()}
    if not name or name.startswith("-"):
        raise InputError(f"invalid endpoint {address!r}", hint=f"there are {_KINDS}")
    if kind not in _PROGRAMS:
        raise InputError(f"unsupported endpoint {address!r}", hint=f"there are {_KINDS}")
    return _PROGRAMS[kind](url, query)


def _in_container(url: SplitResult, query: Mapping[str, str]) -> tuple[str, ...]:
    engine = url.scheme.partition("-")[0]
    # What engines call the place where the container is.
    option = "namespace" if engine == "nerdctl" else "context"
    place = (f"--{option}", query[option]) if query.get(option) else ()
    return (engine, *place, "exec", "-i", url.netloc, *DIAL)


def _in_pod(url: SplitResult, query: Mapping[str, str]) -> tuple[str, ...]:
    words = [f"--{key}={query[key]}" for key in ("context", "namespace") if query.get(key)]
    container = [f"--container={query['container']}"] if query.get("container") else []
    return ("kubectl", *words, "exec", "-i", *container, url.netloc, "--", *DIAL)


def _over_ssh(url: SplitResult, _query: Mapping[str, str]) -> tuple[str, ...]:
    port = ("-p", str(url.port)) if url.port else ()
    user = ("-l", url.username) if url.username else ()
    dial = (*DIAL[:1], "--addr", f"unix://{url.path}", DIAL[1]) if url.path.strip("/") else DIAL
    return ("ssh", *port, *user, "--", _host(url), shlex.join(dial))


_PROGRAMS: Mapping[str, Callable[[SplitResult, Mapping[str, str]], tuple[str, ...]]] = {
    **dict.fromkeys(_CONTAINERS, _in_container),
    "kube-pod": _in_pod,
    "ssh": _over_ssh,
}
"""What makes the program that reaches a daemon, by the scheme of its address."""
