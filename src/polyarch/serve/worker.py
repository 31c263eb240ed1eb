"""What is said of the only worker that there is: this machine. Source: BuildKit's `worker.proto`."""

from __future__ import annotations

import asyncio

from polyarch.builders.collecting import user_settings
from polyarch.buildkit.messages import pairs
from polyarch.cdi.devices import find_devices, spec_directories
from polyarch.emulation.advertised import local_platforms
from polyarch.engine.engine import Engine
from polyarch.release import BUILDKIT_RELEASE, DOCKERFILE_RELEASE
from polyarch.store.gcsettings import collecting_for
from polyarch.store.policy import Policy
from polyarch.wire import field

__all__ = ["Worker", "version"]

_PACKAGE = "github.com/polyarch/polyarch"
_NANO = 1_000_000_000


class Worker:
    """This machine; what it runs is found out once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._told = b""

    async def told(self) -> bytes:
        """Return a WorkerRecord; files that describe devices may come and go."""
        loop = asyncio.get_running_loop()
        if not self._told:
            # Programs of all platforms are tried.
            self._told = await loop.run_in_executor(None, self._look)
        return self._told + await loop.run_in_executor(None, self._devices)

    def _devices(self) -> bytes:
        found = find_devices(spec_directories(self._engine.environ))
        return b"".join(
            field(
                6,
                field(1, name)
                + field(2, found.is_free(name))
                + pairs(3, found.known[name].annotations),
            )
            for name in found.known
        )

    def _look(self) -> bytes:
        platforms = local_platforms(self._engine.environ)
        collecting = collecting_for(self._engine.store.root, user_settings(self._engine.environ))
        labels = {"org.mobyproject.buildkit.worker.executor": "polyarch"}
        return b"".join(
            (
                field(1, "polyarch"),
                pairs(2, labels),
                *(
                    field(
                        3, field(1, each.architecture) + field(2, each.os) + field(3, each.variant)
                    )
                    for each in platforms
                ),
                *(field(4, _policy(each)) for each in collecting.policies),
                field(5, version()),
            )
        )


def version() -> bytes:
    """Return a BuildkitVersion."""
    return field(1, _PACKAGE) + field(2, BUILDKIT_RELEASE) + field(4, DOCKERFILE_RELEASE)


def _policy(policy: Policy) -> bytes:
    return b"".join(
        (
            field(1, policy.all),
            field(2, int(policy.keep_seconds * _NANO)),
            field(3, policy.reserved),
            *(field(4, each) for each in policy.filters),
            field(5, policy.max_used),
            field(6, policy.min_free),
        )
    )
