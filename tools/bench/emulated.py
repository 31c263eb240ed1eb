"""What emulated steps cost: as a handler of the machine runs them, strictly, with native twins, and natively.

Base images are made of Debian's packages and pushed to a registry of the run's own. What is counted are the CPU seconds of
a step's processes, which its shell tells at the end (`times`): wall time is nothing to go by on a busy machine.

    handler    chroot in an unpacked image, with QEMU registered: as BuildKit runs a step without an emulator of its own
    strict     polyarch build --emulation=strict
    auto       polyarch build: with native twins
    native     polyarch build for this machine's platform
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.images.baseimages import push_base
from tests.support.machine.handlers import enclave, handler_lines
from tools.bench.kept import Figures
from tools.bench.rows import INSTALLED, PACKAGES, ROWS, Row
from tools.beside import BUILD, PROJECT
from tools.debian import fetch_with_dependencies, first_stage
from tools.registry import real_registry

__all__ = ["measure"]

_NATIVE, _FOREIGN = "amd64", "arm64"
_PLATFORMS = f"linux/{_NATIVE},linux/{_FOREIGN}"
_WAYS = ("handler", "strict", "auto", "native")
_DATA_SIZE = 24 << 20
_TIMES = re.compile(r"(\d+)m([\d.]+)s")
_INSIDE = """
mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && exec chroot "$1" /bin/sh -c "$2"
"""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
_REPOSITORY = """
FROM {host}/first-stage
RUN /debootstrap/debootstrap --second-stage > /dev/null
ARG TARGETARCH
COPY repository-$TARGETARCH /repository
COPY data /data
RUN echo 'deb [trusted=yes] file:/repository ./' > /etc/apt/sources.list
"""
_WITH_PACKAGES = """
FROM {host}/debian
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends {packages}
"""


def measure(names: Sequence[str], *, is_resumed: bool = False) -> int:
    """Print the table of the rows with these names, of all without one; return an exit status.

    A run that `is_resumed` measures only what those before it haven't.
    """
    rows = [row for row in ROWS if not names or row.name in names]
    if len(rows) < len(names):
        print(f"rows are: {', '.join(row.name for row in ROWS)}", file=sys.stderr)
        return 2
    figures = Figures(BUILD / "bench-emulated.json", is_resumed=is_resumed)
    lacking = {row.name: [way for way in _WAYS if way not in figures.of(row)] for row in rows}
    print("| step | native, CPU s | " + " | ".join(_WAYS[:3]) + " | gained by auto |")
    print("|---|---:|" + "---:|" * 4)
    failed = False
    with ExitStack() as held:
        bases = {row.base for row in rows if lacking[row.name]}
        bench = held.enter_context(_bench(bases)) if bases else None
        for row in rows:
            for way in lacking[row.name]:
                assert bench is not None
                try:
                    figures.put(row, way, bench.run(row, way))
                except _StepFailed as error:  # the others' figures took long enough to be kept
                    failed = True
                    print(f"{row.name}, {way}: {error}", file=sys.stderr)
            print(_line(row, figures.of(row)), flush=True)
    return int(failed)


def _line(row: Row, seconds: Mapping[str, float]) -> str:
    """Return a line of the table: times of native, and how many times the handler's run is longer than auto's.

    A dash stands for what has failed.
    """

    def ratio(way: str, to: str) -> str:
        if way not in seconds or to not in seconds:
            return "-"
        return f"{seconds[way] / max(seconds[to], 0.01):.1f}x"

    native = f"{seconds['native']:.2f}" if "native" in seconds else "-"
    ratios = (ratio(way, "native") for way in _WAYS[:3])
    return f"| {row.name} | {native} | {' | '.join(ratios)} | {ratio('handler', 'auto')} |"


class _StepFailed(Exception):
    """A build or a step failed; what it told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """Base images in a registry, and where polyarch keeps its things for this run."""

    host: str
    directory: Path
    roots: dict[str, Path] = field(default_factory=dict)

    def polyarch(self, dockerfile: str, *words: str) -> str:
        """Build a Dockerfile over the directory `context`; return what it told."""
        ended = subprocess.run(
            [
                f"{PROJECT}/.venv/bin/polyarch",
                "build",
                "--progress=plain",
                "--no-cache",
                *words,
                *("-f", "-", str(self.directory / "context")),
            ],
            input=dockerfile,
            env={**os.environ, "POLYARCH_ROOT": str(self.directory / "store")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise _StepFailed(ended.stdout)
        return ended.stdout

    def make_twins(self, base: str) -> None:
        """Have the twins of a base image made, which is else done beside the first step that needs them."""
        dockerfile = f"FROM {self.host}/{base}\nRUN true\n"
        self.polyarch(dockerfile, f"--platform=linux/{_FOREIGN}", "--emulation=verify")

    def run(self, row: Row, way: str) -> float:
        """Run a row's step; return its CPU seconds."""
        script = f"({row.script}) && times"
        if way == "handler":
            return _seconds(self._by_handler(row, script))
        platform = _NATIVE if way == "native" else _FOREIGN
        base = f"FROM {self.host}/{row.base}\n"
        emulation = "strict" if way == "strict" else "auto"
        if way == "auto":
            self.make_twins(row.base)
        step = f"RUN {json.dumps(['/bin/sh', '-c', script])}\n"
        flags = (f"--platform=linux/{platform}", f"--emulation={emulation}")
        return _seconds(self.polyarch(base + step, *flags))

    def _by_handler(self, row: Row, script: str) -> str:
        if row.base not in self.roots:
            root = self.directory / f"root-{row.base}"
            archive = self.directory / "root.tar"
            output = f"type=tar,dest={archive}"
            self.polyarch(
                f"FROM {self.host}/{row.base}\n",
                f"--platform=linux/{_FOREIGN}",
                f"--output={output}",
            )
            root.mkdir()
            subprocess.run(["tar", "-xpf", archive, "-C", root], check=True)
            self.roots[row.base] = root
        with (
            tempfile.TemporaryDirectory(dir=self.directory) as scratch,
            enclave(handler_lines([_FOREIGN])) as inside,
        ):
            root = Path(scratch, "root")
            subprocess.run(["cp", "-a", self.roots[row.base], root], check=True)
            words = ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", _INSIDE, "sh"]
            ended = subprocess.run(
                [*inside.enter, *words, str(root), script],
                env=_ENVIRONMENT,
                check=False,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if ended.returncode:
                raise _StepFailed(ended.stdout)
            return ended.stdout


def _seconds(told: str) -> float:
    """Return the sum of what `times` told last: user and system seconds of the shell, and of its children."""
    found = _TIMES.findall(told)[-4:]
    if len(found) < 4:
        raise _StepFailed(f"the step told no times:\n{told}")
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in found)


@contextmanager
def _bench(bases: set[str]) -> Iterator[_Bench]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-emulated-", dir="/var/tmp") as name,
        real_registry(Path(name, "registry")) as registry,
    ):
        directory = Path(name)
        bench = _Bench(host=registry.host, directory=directory)
        (directory / "context").mkdir()
        _push_first_stage(bench)
        if bases - {"first-stage"}:
            bench.make_twins("first-stage")
            more = [name for base in sorted(bases & set(PACKAGES)) for name in PACKAGES[base]]
            _fill_context(directory / "context", (*INSTALLED, *more))
            _push(bench, "debian", _REPOSITORY.format(host=bench.host))
        for base in sorted(bases & set(PACKAGES)):
            bench.make_twins("debian")
            packages = " ".join(PACKAGES[base])
            _push(bench, base, _WITH_PACKAGES.format(host=bench.host, packages=packages))
        yield bench


def _push(bench: _Bench, name: str, dockerfile: str) -> None:
    bench.polyarch(dockerfile, f"--platform={_PLATFORMS}", "--push", f"--tag={bench.host}/{name}")


def _push_first_stage(bench: _Bench) -> None:
    scratch = bench.directory / "first-stage"
    for architecture in (_NATIVE, _FOREIGN):
        root = scratch / architecture
        first_stage(root, architecture)
        for path in ("proc", "sys"):
            if (root / path).is_symlink():  # within containers
                (root / path).unlink()
                (root / path).mkdir()
        subprocess.run(["find", root / "dev", "-mindepth", "1", "-delete"], check=True)
    push_base(bench.host, "first-stage", (_NATIVE, _FOREIGN), scratch)


def _fill_context(context: Path, names: Sequence[str]) -> None:
    """Write a repository of packages with all that they need for each architecture, and data to work on."""
    for architecture in (_NATIVE, _FOREIGN):
        directory = context / f"repository-{architecture}"
        directory.mkdir()
        packages = BUILD / "bench-packages"
        for package in fetch_with_dependencies(packages, architecture, names):
            os.link(package, directory / package.name)
        index = "\n".join(_stanza(each) for each in sorted(directory.glob("*.deb")))
        (directory / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    words = [b"the ", b"quick ", b"brown fox ", b"jumps\n"]
    chance = random.Random(7)
    parts = (chance.choice(words) + chance.randbytes(4) for _ in range(_DATA_SIZE // 10))
    (context / "data").mkdir()
    (context / "data/big").write_bytes(b"".join(parts))


def _stanza(package: Path) -> str:
    fields = subprocess.run(
        ["dpkg-deb", "--field", package], check=True, capture_output=True, text=True
    ).stdout
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    size = package.stat().st_size
    return f"{fields}Filename: ./{package.name}\nSize: {size}\nSHA256: {digest}\n"
