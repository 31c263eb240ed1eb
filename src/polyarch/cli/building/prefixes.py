"""What buildx puts before the errors of a build, by how far that came."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.cli.frame.report import CommandFailed
from polyarch.errors import Cancelled, ContextNotFound, PolyarchError

__all__ = ["PREFIX", "solving"]

PREFIX = "failed to build: "
_SOLVE_PREFIX = "failed to build: failed to solve: "


@contextmanager
def solving() -> Iterator[None]:
    """Put before errors what buildx puts before those of its daemon."""
    try:
        yield
    except Cancelled as error:
        raise Cancelled(f"{_SOLVE_PREFIX}Canceled: context canceled") from error
    except ContextNotFound as error:
        raise CommandFailed(PREFIX, error) from error
    except PolyarchError as error:
        raise CommandFailed(_SOLVE_PREFIX, error) from error
