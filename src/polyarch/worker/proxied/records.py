"""What a step asked its proxy for: told at the end of its log, and whole answers as materials of its provenance."""

from __future__ import annotations

import threading

from polyarch.digest import Digest
from polyarch.http.origin import shown
from polyarch.record import frozen

__all__ = ["Asked", "Records"]


@frozen
class Asked:
    """A request, and the status of its answer."""

    method: str
    url: str
    status: int

    def __str__(self) -> str:
        return f"- {self.method} {self.url} -> {self.status}"


class Records:
    """Takes requests from many threads."""

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._fetched: dict[str, Digest] = {}
        self._lock = threading.Lock()

    def note(self, method: str, url: str, status: int, digest: Digest | None) -> None:
        """Note a request; `digest` is that of the body of a whole answer to GET."""
        with self._lock:
            told = shown(url)
            self._asked.append(Asked(method=method, url=told, status=status))
            # Where a part of the address may be told to nobody, the rest leads nowhere.
            if digest is not None and "xxxxx" not in told:
                self._fetched[told] = digest

    def text(self) -> str:
        """Return the lines for the log, "" if nothing was asked for."""
        with self._lock:
            lines = list(map(str, self._asked))
        return "\n".join(("proxy network requests:", *lines, "")) if lines else ""

    def fetched(self) -> dict[str, Digest]:
        """Return the digests of what was fetched whole, by address."""
        with self._lock:
            return dict(self._fetched)
