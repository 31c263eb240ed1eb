"""A connection to a scheduler of Dask: who its workers are, tasks for them, and what these tell.

Dask's library is untyped and large; nothing of it is seen outside of this module and the worker's.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import queue
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from polyarch.cluster.address import Certificates, Cluster
from polyarch.cluster.call import Call
from polyarch.errors import InputError, MachineError
from polyarch.platforms import Platform, normalize, parse
from polyarch.record import frozen

__all__ = [
    "Future",
    "Lost",
    "Scheduler",
    "Worker",
    "connected",
    "keep_quiet",
    "reason",
    "security_of",
]

_CONNECT = 10.0
"""Seconds that a scheduler has to answer, and that one which has gone has to come back."""
_LOST = frozenset({"cancelled", "lost"})

Future = Any
"""One of Dask's: the result of a task, once there is one."""


class Lost(MachineError):
    """The scheduler has gone, or the workers that tried a task."""


@frozen
class Worker:
    """A worker: the platforms that it says to run natively, each with how many builds at once."""

    name: str
    address: str
    platforms: Mapping[Platform, float]


class Scheduler:
    """A scheduler that answers; made by `connected`."""

    def __init__(self, client: Any, address: str) -> None:
        self.address = address
        self._client = client
        self._silent_since = 0.0

    def workers(self) -> tuple[Worker, ...]:
        """Return the workers that there are at this moment."""
        with self._trouble():
            found = self._client.scheduler_info(n_workers=-1)["workers"]
        return tuple(_worker(address, each) for address, each in found.items())

    def hear(self, topic: str, heard: queue.SimpleQueue[Mapping[str, Any] | None]) -> None:
        """Have what is told about a topic put into a queue."""
        with self._trouble():
            self._client.subscribe_topic(topic, lambda event: heard.put(event[1]))

    def forget(self, topic: str) -> None:
        """Hear nothing of a topic any more."""
        with suppress(Exception):
            self._client.unsubscribe_topic(topic)

    def keep(self, data: bytes, digest: str) -> Future:
        """Have the cluster keep some bytes; whichever worker loses them gets them from the scheduler again."""
        with self._trouble():
            return self._client.submit(bytes, data, key=f"polyarch-context-{digest[-32:]}")

    def submit(self, text: str, archives: Sequence[Future], platform: Platform, key: str) -> Future:
        """Have a task done by a worker that runs a platform natively."""
        with self._trouble():
            return self._client.submit(
                pickle.loads,
                Call(text, len(archives)).to_bytes(),
                buffers=list(archives),
                key=key,
                resources={str(platform): 1},
                pure=False,
            )

    def cancel(self, futures: Sequence[Future]) -> None:
        """Want tasks no more; those that run hear of it soon."""
        with suppress(Exception):
            self._client.cancel(list(futures))

    def check(self, futures: Sequence[Future]) -> None:
        """Raise Lost if the scheduler has gone."""
        now = time.monotonic()
        if self._client.status == "running":
            self._silent_since = 0.0
        elif not self._silent_since:
            self._silent_since = now
        has_gone = self._silent_since and now - self._silent_since > _CONNECT
        if has_gone or self._client.status == "closed" or any(f.status in _LOST for f in futures):
            raise Lost(
                f"lost connection to the scheduler at {self.address} while it was building",
                hint="what was built is in the workers' stores, so that the same build again is quick",
            )

    def result(self, future: Future) -> Any:
        """Return what came of a task that has ended. Raises Lost if its workers died."""
        try:
            return future.result(timeout=_CONNECT)
        except Exception as error:
            name = type(error).__name__
            if name == "KilledWorker":
                raise Lost(
                    "the workers that built it died, one after the other",
                    hint="look at their logs: they may lack memory",
                ) from error
            if isinstance(error, (ModuleNotFoundError, AttributeError)):
                raise MachineError(
                    f"a worker can't build: {error}", hint="install polyarch where workers run"
                ) from error
            raise Lost(f"the cluster at {self.address} has failed: {name}: {error}") from error

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, TimeoutError, asyncio.CancelledError) as error:
            raise Lost(f"the scheduler at {self.address} doesn't answer: {error}") from error


@contextmanager
def connected(cluster: Cluster, seconds: float = _CONNECT) -> Iterator[Scheduler]:
    """Give a connection to a scheduler. Raises MachineError if nobody answers there, or it can't be trusted."""
    distributed: Any = import_module("distributed")  # takes most of a second
    # What goes wrong is told by our errors.
    keep_quiet(logging.CRITICAL + 1)
    try:
        client = distributed.Client(
            cluster.address,
            security=security_of(cluster.certificates),
            timeout=seconds,
            set_as_default=False,
            name="polyarch",
        )
    except (OSError, TimeoutError, RuntimeError, ValueError) as error:
        raise MachineError(
            f"no scheduler of Dask answers at {cluster.address}: {reason(error)}",
            hint="is it running there, and with the same certificates?",
        ) from error
    try:
        yield Scheduler(client, cluster.address)
    finally:
        with suppress(Exception):
            client.close(timeout=2)


def keep_quiet(level: int) -> None:
    """Have Dask's library print nothing below a level of logging's: it says much, and that with tracebacks.

    It also warns of other versions of libraries, which is nothing to a task that is only text and bytes.
    """
    warnings.filterwarnings("ignore", module=r"distributed\.")
    for name in ("asyncio", "tornado", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in {"asyncio", "distributed", "tornado"}:
            logging.getLogger(name).setLevel(level)


def security_of(certificates: Certificates) -> Any:
    """Return Dask's own form of certificates; None without. Raises InputError for files that aren't there."""
    if not certificates:
        return None
    for path in (certificates.authority, certificates.certificate, certificates.key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror}") from error
    security: Any = import_module("distributed.security")
    return security.Security(
        tls_ca_file=certificates.authority,
        tls_client_cert=certificates.certificate,
        tls_client_key=certificates.key,
        tls_worker_cert=certificates.certificate,
        tls_worker_key=certificates.key,
        require_encryption=True,
    )


def reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _worker(address: str, told: Mapping[str, Any]) -> Worker:
    platforms = {}
    for name, count in (told.get("resources") or {}).items():
        if "/" in name:
            with suppress(InputError):
                platforms[normalize(parse(name))] = float(count)
    return Worker(name=str(told.get("name", address)), address=address, platforms=platforms)
