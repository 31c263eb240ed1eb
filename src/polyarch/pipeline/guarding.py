"""Policies of a build on a daemon: loaded here, and asked by the daemon through the session."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from polyarch.buildkit.build import Policing
from polyarch.buildkit.nodes import RemoteState, look_at
from polyarch.buildkit.policies import checker
from polyarch.buildkit.work import Remote
from polyarch.engine.engine import Engine
from polyarch.errors import InputError, MachineError, NotFound, PolyarchError, RemoteError
from polyarch.pattern import pattern
from polyarch.pipeline.guarded import may_have_policies
from polyarch.pipeline.reading import open_reading
from polyarch.platforms import host
from polyarch.progress import CancelToken, Sink, step
from polyarch.request.values import BuildRequest

__all__ = ["guarding"]

_PROXY_SINCE = (0, 31)
_POLICIES_SINCE = (0, 27)
_VERSION = pattern(r"v?(\d+)\.(\d+)")


@contextmanager
def guarding(
    engine: Engine, request: BuildRequest, remote: Remote, sink: Sink, cancel: CancelToken
) -> Iterator[Policing | None]:
    """Give what a daemon asks about sources for as long as the block lasts, None if there are no policies.

    What the policies said goes along with the error that ends the block. Raises as loading them, InputError for daemons that
    wouldn't ask.
    """
    if not may_have_policies(request, engine.environ):
        yield None
        return
    with ExitStack() as stack:
        try:
            reading = stack.enter_context(open_reading(engine, request, sink, cancel, asks=False))
        except (RemoteError, NotFound, MachineError) as error:
            if request.policies:
                raise
            # The daemon may reach what this machine doesn't; the policy that lies there is one of its own choice.
            with step(sink, "[internal] looking for a policy") as shown:
                shown.warn(f"the build goes on without a policy of its context: {error}")
            reading = None
        guard = None if reading is None else reading.guarded.guard
        if guard is None:
            yield None
            return
        state = look_at(remote)
        _require_version(state, _POLICIES_SINCE, "policies are")
        wants_proxy = guard.wants_proxy()
        if wants_proxy:
            _require_version(state, _PROXY_SINCE, "network proxy requested by policy is")
            guard.note("policy enabled network proxy")
        platform = (*state.platforms, host())[0]
        try:
            yield Policing(check=checker(guard, platform), proxy_network=wants_proxy)
        except PolyarchError as error:
            error.told = tuple(f"Policy: {each}" for each in guard.denied if each)
            raise


def _require_version(state: RemoteState, since: tuple[int, int], what: str) -> None:
    """Raise InputError for a daemon that is older; one that doesn't tell its version counts as new."""
    match = _VERSION.match(state.version)
    if match is not None and (int(match[1]), int(match[2])) < since:
        raise InputError(
            f"{what} not supported by the current BuildKit daemon, please upgrade to version "
            f"v{since[0]}.{since[1]}+"
        )
