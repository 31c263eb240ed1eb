"""Measures caches at a registry beside BuildKit's and buildah's: a large layer of which one percent changes.

    make cachebench CACHEBENCH_FLAGS='--size 1024 --rounds 3'

For each builder in turn: a build with an empty store whose cache is exported; one with an empty store after one percent of
the context changed, exported as well; and one with an empty store that imports all of it. Told are wall time, CPU seconds, the
most memory and the bytes that the registry got. The layer is noise, which costs each builder the least to compress, or in
part words (`--words 50`), more like what layers have. polyarch writes `type=steps`, BuildKit a registry cache with `mode=max`, buildah its own.
The builders' adapters and what measures them lie beside the project, with the other benchmarks.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from tests.support.images.baseimages import push_base
from tools.beside import PROJECT, get_beside
from tools.registry import RealRegistry, real_registry

_FILE = 16 << 20
_BLOCK = 1 << 20
_PAGE = 4096
_DOCKERFILE = "FROM {base}\nCOPY data /data\nRUN cat /data/* | md5sum > /sum\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one build cost; `peak` is the most memory in bytes, `sent` the bytes that the registry has more."""

    builder: str
    phase: str
    wall: float
    cpu: float
    peak: int
    sent: int


def main() -> int:
    """Run it and print a table; the exit status is 1 if a build failed."""
    options = _options()
    sys.path.insert(0, str(get_beside("BENCH", "bench", "bench.py")))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="cachebench-") as scratch:
        place = Path(scratch)
        with real_registry(place / "registry") as registry:
            push_base(registry.host, "library/busybox", ("amd64",), place / "roots")
            base = f"{registry.host}/library/busybox"
            builders = _builders(options, place)
            try:
                for number in range(options.rounds):
                    turn = number % len(builders)
                    for builder in (*builders[turn:], *builders[:turn]):
                        rows += _round(builder, registry, base, place, options, number)
            finally:
                for builder in builders:
                    builder.close()
    _print(rows)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=256, help="MiB of the layer")
    parser.add_argument("--words", type=int, default=0, help="percent of it that are words")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--builders", default="polyarch,buildkit,buildah")
    return parser.parse_args()


def _builders(options: argparse.Namespace, scratch: Path) -> list[Any]:
    module = importlib.import_module("builders")

    class Steps(module.Candidate):  # type: ignore[misc, name-defined]
        """polyarch with the cache of single steps."""

        def command(self, request: Any) -> Any:
            made = super().command(replace(request, cache_from="", cache_to=""))
            words = list(made.argv)
            for flag, where in (
                ("--cache-from", request.cache_from),
                ("--cache-to", request.cache_to),
            ):
                if where:
                    words[-1:-1] = [flag, f"type=steps,ref={where}"]
            return replace(made, argv=words)

    makers: dict[str, Callable[[], Any]] = {
        "polyarch": lambda: Steps(shlex.join([f"{PROJECT}/.venv/bin/polyarch"]), scratch),
        "buildkit": lambda: module.BuildKit("buildx", "buildkitd", scratch),
        "buildah": lambda: module.Buildah("buildah", scratch),
    }
    found = []
    for name in options.builders.split(","):
        try:
            found.append(makers[name]())
        except module.BuilderMissing as error:
            print(f"without {name}: {error}", file=sys.stderr)
    return found


def _round(
    builder: Any,
    registry: RealRegistry,
    base: str,
    scratch: Path,
    options: argparse.Namespace,
    number: int,
) -> Iterator[Row]:
    module = importlib.import_module("builders")
    measure = importlib.import_module("measure").measure
    context = scratch / "contexts" / builder.name
    (context / "data").mkdir(parents=True, exist_ok=True)
    (context / "Dockerfile").write_text(_DOCKERFILE.format(base=base))
    source = random.Random(f"{builder.name} {number}")
    size = options.size << 20
    _fill(context / "data", size, options.words, source)
    where = f"{registry.host}/caches/{builder.name}-{number}:cache"
    request = module.Request(context / "Dockerfile", context, module.Output("none"))
    phases = {
        "export": replace(request, cache_to=where),
        "export changed": replace(request, cache_from=where, cache_to=where),
        "import": replace(request, cache_from=where),
    }
    for phase, each in phases.items():
        if phase == "export changed":
            _change(context / "data", size, source)
        builder.empty()
        os.sync()
        before = _bytes(registry.directory)
        command = builder.command(each)
        log = scratch / "log"
        cost = measure(command.argv, command.env, log, builder.daemons())
        if cost.status:
            raise SystemExit(f"{builder.name}, {phase}: {log.read_text(errors='replace')[-2000:]}")
        sent = _bytes(registry.directory) - before
        row = Row(
            builder=builder.name,
            phase=phase,
            wall=cost.wall,
            cpu=cost.cpu,
            peak=cost.peak,
            sent=sent,
        )
        print(_line(row), flush=True)
        yield row


def _fill(directory: Path, size: int, words: int, source: random.Random) -> None:
    texts = _texts(source) if words else []
    for number in range(max(1, size // _FILE)):
        data = bytearray(source.randbytes(min(size, _FILE)))
        for start in range(0, len(data) if texts else 0, _PAGE):
            if source.randrange(100) < words:
                data[start : start + _PAGE] = source.choice(texts)
        (directory / f"{number:03d}").write_bytes(data)


def _texts(source: random.Random) -> list[bytes]:
    """Return pages of made-up words; so many that the same one seldom comes twice within what a compressor looks back."""
    words = ["".join(source.choices("etaoinshrdlu", k=source.randint(2, 9))) for _ in range(2000)]
    return [" ".join(source.choices(words, k=_PAGE)).encode()[:_PAGE] for _ in range(2000)]


def _change(directory: Path, size: int, source: random.Random) -> None:
    """Write other bytes over one percent of the files, in blocks, and put some into the middle of one."""
    files = sorted(directory.iterdir())
    for _ in range(max(1, size // 100 // _BLOCK)):
        path = source.choice(files)
        with path.open("r+b") as stream:
            stream.seek(source.randrange(max(1, path.stat().st_size - _BLOCK)))
            stream.write(source.randbytes(_BLOCK))
    data = files[0].read_bytes()
    files[0].write_bytes(data[: len(data) // 2] + b"more" + data[len(data) // 2 :])


def _bytes(directory: Path) -> int:
    return sum(each.stat().st_size for each in directory.rglob("blobs/**/data"))


def _line(row: Row) -> str:
    return f"{row.builder:9} {row.phase:15} {row.wall:8.2f} s  cpu {row.cpu:7.2f} s  peak {row.peak / 1e6:7.1f} MB  sent {row.sent / 1e6:9.2f} MB"


def _print(rows: list[Row]) -> None:
    print("\nmedians")
    for phase in dict.fromkeys(row.phase for row in rows):
        for builder in dict.fromkeys(row.builder for row in rows):
            same = [row for row in rows if (row.builder, row.phase) == (builder, phase)]
            wall, cpu = median(row.wall for row in same), median(row.cpu for row in same)
            peak = max(row.peak for row in same)
            print(_line(replace(same[0], wall=wall, cpu=cpu, peak=peak)))


if __name__ == "__main__":
    sys.exit(main())
