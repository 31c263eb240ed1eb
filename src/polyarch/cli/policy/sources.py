"""What both commands need: a source of an argument, the files of a policy, and an engine that finds out about sources."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.cli.frame.command import Context
from polyarch.cli.frame.engine import open_engine
from polyarch.cli.frame.interrupt import cancel_on_signals
from polyarch.errors import InputError, NotFound
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, host, parse_list
from polyarch.policies.files import Directory
from polyarch.policies.finding import Finder
from polyarch.policies.told import Source
from polyarch.record import replace
from polyarch.text.giturl import parse_git_reference
from polyarch.worker.secrets import Secrets, sources_of

__all__ = ["HERE", "one_platform", "open_finder", "parse_source"]

HERE = Directory(path=".")
"""Files of policies are looked for where the command runs."""


def one_platform(text: str) -> Platform:
    """Return the platform that is asked about, this machine's for "". Raises InvalidPlatform."""
    found = parse_list(filter(None, (text,)))
    if len(found) > 1:
        raise InputError("a policy is asked about one platform: --platform takes one")
    return found[0] if found else host()


def parse_source(text: str, platform: Platform) -> Source:
    """Read the argument of `policy eval`. Raises InputError, NotFound."""
    if text.startswith(IMAGE_SCHEME):
        name = parse_reference(text.removeprefix(IMAGE_SCHEME))
        if not name.tag and name.digest is None:
            name = replace(name, tag="latest")
        return Source(identifier=f"{IMAGE_SCHEME}{name}", platform=platform)
    if text.startswith("git://"):
        if parse_git_reference(text) is None:
            raise InputError(f"invalid git context {text}")
        return Source(identifier=text)
    if text.startswith(("http://", "https://")):
        if parse_git_reference(text) is None:
            return Source(identifier=text)
        return Source(identifier=f"git://{text}", attributes={"git.fullurl": text})
    # Whatever else: a path of this machine.
    if not os.path.exists(text):
        raise NotFound(f"invalid local path {text}: no such file or directory")
    return Source(identifier="local://context")


@contextmanager
def open_finder(context: Context) -> Iterator[Finder]:
    """Open what finds out about sources; `context` is one that `enter` returned."""
    with cancel_on_signals() as cancel, open_engine(context) as engine:
        images = engine.images(lambda _event: None)
        secrets = Secrets(sources=sources_of(()), environ=context.environ)
        with engine.remote_sources(secrets) as remote:
            yield Finder(
                resolver=images.resolver(cancel, pull=False),
                places=images.places(cancel),
                remote=remote,
                blobs=engine.store.blobs,
                cancel=cancel,
            )
