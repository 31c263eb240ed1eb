"""What steps print -> the same without the secrets of the build.

A secret is masked by its lines, since programs print lines, each by itself and without the blanks around
it; of a file of settings (NAME=VALUE), the longer values by themselves, too; as a whole also in base64, at any place of what was coded, and as it is written in addresses. Every byte
that belongs to an occurrence is replaced, overlapping ones together: so the result doesn't depend on how
the output was cut into pieces, and nothing of a secret survives beside another.

What may become a secret with the next piece is held back, which is never more than the rest of a line:
no form of a secret holds the end of one.
"""

from __future__ import annotations

import binascii
import itertools
import sys
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote_from_bytes

from polyarch.errors import PolyarchError
from polyarch.pattern import pattern
from polyarch.progress import Event, Sink, StepEvent
from polyarch.record import replace

__all__ = ["LEAST", "MASK", "Masker", "StreamMasker", "forms"]

MASK = b"***"
LEAST = 4
"""Bytes: a shorter line of a secret stays, as masking it would make logs unreadable and hide little."""

_LONGEST = 1024
# Whoever knows so much of a secret's base64 knows it.
_LEAST_CODED = 12
_BASE64_LINES = (64, 76)
# Texts of so many bytes are long. So many of a kind are looked for one by one, which is faster.
_LONG = 15
_FEW = 24
_URL_SAFE = bytes.maketrans(b"+/", b"-_")
# A secret may be a whole header: what is secret of it is the rest.
_SCHEMES = frozenset({b"basic", b"bearer", b"token"})
_SETTING = pattern(rb"(?:export\s+)?[A-Za-z_][\w.-]*\s*=(.*)")
# Shorter values of settings are words like "production" and numbers of ports, most of the time.
_LEAST_VALUE = 12
Span = tuple[int, int]


def forms(secret: bytes) -> Iterator[bytes]:
    """Give the ways in which a secret is found in what programs print, none longer than 1 KiB."""
    for line in secret.splitlines():
        bare = line.strip()
        # The frame of a key is the same in all keys.
        if not (bare.startswith(b"-----") and bare.endswith(b"-----")):
            yield from _pieces(bare)
            yield from _pieces(_quoted(bare))
        scheme, _, token = bare.partition(b" ")
        if scheme.lower() in _SCHEMES:
            yield from _pieces(token.strip())
    for value in _assigned(secret):
        yield from _pieces(value)
    for whole in {secret, secret.strip()}:
        yield from _coded(whole)


def _assigned(secret: bytes) -> Iterator[bytes]:
    """Give the values of a secret that is nothing but settings, as `.env` files are."""
    lines = [line.strip() for line in secret.splitlines()]
    settings = [line for line in lines if line and not line.startswith(b"#")]
    found = [_SETTING.fullmatch(line) for line in settings]
    for match in found if all(found) else ():
        assert match is not None
        value = match[1].strip(b"\"' \t")
        if len(value) >= _LEAST_VALUE:
            yield value


def _pieces(text: bytes) -> Iterator[bytes]:
    """Give parts of a text which, each masked, mask all of it."""
    if len(text) < LEAST:
        return
    for start in range(0, len(text), _LONGEST):
        yield text[max(0, min(start, len(text) - LEAST)) : start + _LONGEST]


def _quoted(text: bytes) -> bytes:
    return quote_from_bytes(text, safe="").encode()


def _coded(secret: bytes) -> Iterator[bytes]:
    """Give the secret in base64, without the characters that its neighbours have a part in."""
    for before in range(3):
        text = binascii.b2a_base64(bytes(before) + secret, newline=False)
        first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
        coded = text[first:last]
        if len(coded) < _LEAST_CODED:
            continue
        yield from _pieces(coded)
        yield from _pieces(coded.translate(_URL_SAFE))
        if before == 0:
            for width in _BASE64_LINES:
                lines = (coded[start : start + width] for start in range(0, len(coded), width))
                yield from (line for line in lines if len(line) >= _LEAST_CODED)


class _Finder:
    """Finds the occurrences of texts; immutable."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self.texts = sorted(set(texts))
        self._begin = frozenset(text[:LEAST] for text in self.texts)
        self._reach = max(map(len, self.texts), default=1) - 1
        # An occurrence of 15 bytes holds 8 that begin at a multiple of 8; of shorter ones the first 4
        # are looked for everywhere. Both are compared as numbers.
        self._long: dict[int, list[bytes]] = {}
        self._short: dict[int, list[bytes]] = {}
        long = [text for text in self.texts if len(text) >= _LONG]
        short = [text for text in self.texts if len(text) < _LONG]
        self._few = [*_if_few(long), *_if_few(short)]
        if len(short) > _FEW:
            for text in short:
                self._short.setdefault(_number(text[:4]), []).append(text)
        if len(long) > _FEW:
            for text, shift in itertools.product(long, range(8)):
                self._long.setdefault(_number(text[shift : shift + 8]), []).append(text)

    def spans(self, data: bytes) -> list[Span]:
        """Return where texts are, in order; what overlaps or touches is one."""
        found = [span for text in self._candidates(data) for span in _occurrences(data, text)]
        return _merged(found) if found else found

    def _candidates(self, data: bytes) -> Iterable[bytes]:
        found = set(self._few)
        if self._long:
            for number in self._long.keys() & _numbers(data, 0, 8):
                found.update(self._long[number])
        if self._short:
            for shift in range(4):
                for number in self._short.keys() & _numbers(data, shift, 4):
                    found.update(self._short[number])
        return found

    def open_from(self, data: bytes) -> int:
        """Return from where on data may be the beginning of a text; its length if there is no such place."""
        line = data.rfind(b"\n") + 1
        for start in range(max(line, len(data) - self._reach), len(data)):
            begin = data[start : start + LEAST]
            if (begin in self._begin or len(begin) < LEAST) and self._begins(data[start:]):
                return start
        return len(data)

    def _begins(self, rest: bytes) -> bool:
        place = bisect_left(self.texts, rest)
        # One that ends where the data ends isn't open, but the next in order may go on.
        while place < len(self.texts) and self.texts[place] == rest:
            place += 1
        return place < len(self.texts) and self.texts[place].startswith(rest)


def _if_few(texts: Sequence[bytes]) -> Sequence[bytes]:
    return texts if len(texts) <= _FEW else ()


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _numbers(data: bytes, shift: int, size: int) -> Iterable[int]:
    end = shift + max(0, len(data) - shift) // size * size
    return memoryview(data)[shift:end].cast("Q" if size == 8 else "I")


def _occurrences(data: bytes, text: bytes) -> Iterator[Span]:
    """Give where a text is; of those that overlap, as many as are needed to cover the same bytes."""
    start = data.find(text)
    while start >= 0:
        end = start + len(text)
        yield start, end
        next_start = data.rfind(text, start + 1, end + len(text))
        start = next_start if next_start >= 0 else data.find(text, end)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


class Masker:
    """Masks the secrets that it was taught, from any thread. Secrets may be taught at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taught: set[bytes] = set()
        self.finder = _Finder(())

    def teach(self, *secrets: bytes) -> None:
        """Mask these secrets from now on; many at once are taught sooner than one after the other."""
        with self._lock:
            fresh = set(secrets) - self._taught
            if fresh:
                self._taught |= fresh
                texts = (form for secret in fresh for form in forms(secret))
                self.finder = _Finder((*self.finder.texts, *texts))

    def stream(self) -> StreamMasker:
        """Return what masks a stream of output."""
        return StreamMasker(self)

    def text(self, text: str) -> str:
        """Return a text with its secrets masked."""
        data = text.encode(errors="surrogateescape")
        return _replaced(data, self.finder.spans(data)).decode(errors="surrogateescape")

    def sink(self, sink: Sink) -> Sink:
        """Return a sink that masks the errors of steps; what they print is masked where it comes in."""

        def take(event: Event) -> None:
            if isinstance(event, StepEvent) and event.error:
                event = replace(event, error=self.text(event.error))
            sink(event)

        return take

    @contextmanager
    def masks_errors(self) -> Iterator[None]:
        """Mask the errors that leave the block; what a server or a program said may be in them.

        So are those that led to them, which tracebacks show.
        """
        try:
            yield
        except PolyarchError as error:
            reason: BaseException | None = error
            while reason is not None:
                self._mask(reason)
                reason = reason.__cause__ or reason.__context__
            raise

    def _mask(self, error: BaseException) -> None:
        error.args = tuple(
            self.text(each) if isinstance(each, str) else each for each in error.args
        )
        if isinstance(error, PolyarchError):
            error.hint = self.text(error.hint)


class StreamMasker:
    """Masks one stream that comes in pieces; its end has to be told."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        # How many of the held bytes belong to an occurrence that began before them.
        self._covered = 0
        self._ends_masked = False

    def feed(self, data: bytes) -> bytes:
        """Take a piece and return what can be shown by now."""
        finder = self._masker.finder
        if not finder.texts and not self._held:
            self._ends_masked &= not data
            return data
        data = self._held + data
        return self._show(data, finder, finder.open_from(data))

    def end(self) -> bytes:
        """Return what was held back; the stream is over."""
        data, self._held = self._held, b""
        return self._show(data, self._masker.finder, len(data))

    def _show(self, data: bytes, finder: _Finder, cut: int) -> bytes:
        spans = finder.spans(data)
        if self._covered:
            spans = _merged(((0, self._covered), *spans))
        shown = [(start, min(end, cut)) for start, end in spans if start < cut]
        # At most one goes on behind the cut: those that begin there are found again.
        crossing = (end - cut for start, end in spans if start < cut < end)
        self._covered = max(0, *crossing, 0)
        self._held = data[cut:]
        out = _replaced(data[:cut], shown)
        if shown and shown[0][0] == 0 and self._ends_masked:
            out = out[len(MASK) :]
        if cut:
            self._ends_masked = bool(shown) and shown[-1][1] == cut
        return out


def _replaced(data: bytes, spans: Iterable[Span]) -> bytes:
    out, place = [], 0
    for start, end in spans:
        out += [data[place:start], MASK]
        place = end
    return b"".join((*out, data[place:])) if out else data
