"""CAs and a proxy for a step, together: the proxy's own CA is one of those that the step trusts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from polyarch.graph.op import GitOp, HttpOp
from polyarch.worker.proxied.needs import require_signing
from polyarch.worker.surrounded import Around
from polyarch.worker.trust.lending import lent
from polyarch.worker.trust.pem import read_certificates

__all__ = ["surroundings"]


@contextmanager
def surroundings(
    authorities: tuple[Path, ...],
    place: tuple[Path, Path],
    env: Mapping[str, str],
    *,
    proxy: tuple[Mapping[str, str], Callable[[str], None]] | None,
) -> Iterator[Around]:
    """Give what a step has to have around it for as long as the block lasts.

    `place` are the step's root and a directory of this process; `env` is what the step has. With `proxy`, the variables of this
    process and what takes lines of the step's log, it reaches nothing but a proxy. Raises InputError for files of CAs that
    can't be used, MachineError where there can be no such network.
    """
    root, directory = place
    more = read_certificates(authorities)
    with ExitStack() as stack:
        network = None
        if proxy is not None:
            # Needs a library that signs certificates.
            require_signing()
            from polyarch.worker.proxied.network import proxied  # noqa: PLC0415

            network = stack.enter_context(proxied(*proxy))
            more = (*more, network.certificate)
        trusted = stack.enter_context(lent(more, root, directory, env))

        def fetched() -> Mapping[GitOp | HttpOp, str]:
            known = network.records.fetched() if network is not None else {}
            return {HttpOp(url=url, filename=_name(url)): digest for url, digest in known.items()}

        yield Around(
            mounts=trusted.mounts,
            defaults=trusted.variables,
            variables=network.variables if network is not None else {},
            network_namespace=network.namespace if network is not None else "",
            fetched=fetched,
        )


def _name(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name or "download"
