"""Compares polyarch's images with BuildKit's, and bake's plans with buildx's, by the cases beside the project.

That is `make conformance`. The cases name images at 127.0.0.1:5000. A registry that is there already is used; otherwise one is
started for the time of the run. Words on the command line are the comparing program's. Where there are
no cases, the project's own golden cases are run, and what was left out is said.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.beside import BUILD, PROJECT, find_beside
from tools.registry import real_registry

__all__ = [
    "LEFT_OUT",
    "Excuse",
    "Verdict",
    "compare",
    "compare_plans",
    "find_cases",
    "load_excuses",
    "main",
    "tally",
    "unexcused",
]

LEFT_OUT = (
    "conformance: images were not compared with BuildKit's recorded results, as there is no directory"
    " shared/conformance beside the project, and CONFORMANCE names none; the project's own golden cases"
    " stand in for them"
)
_EXCUSES = PROJECT / "tests/conformance/differs.toml"
_GOLDEN = "tests/integration/test_golden.py"
_HOST = "127.0.0.1:5000"
# The image that is pushed last: where it is, the others are.
_LAST_BASE = "library/configured/manifests/latest"
_MANIFESTS = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What came of a case: `name` is corpus/case; `differences` are kinds and what is to be read."""

    name: str
    differences: tuple[tuple[str, str], ...] = ()

    @property
    def corpus(self) -> str:
        return self.name.partition("/")[0]

    def is_excused(self, excuses: Iterable[Excuse]) -> bool:
        """Whether all that differs may."""
        kinds = {kind for kind, _ in self.differences}
        return any(self.name in excuse.cases and kinds <= excuse.kinds for excuse in excuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Excuse:
    """Why `cases` may differ by `kinds`."""

    reason: str
    kinds: frozenset[str]
    cases: frozenset[str]


def main(words: Sequence[str]) -> int:
    """Run the comparison and return its exit status: 1 if a case differs that isn't excused."""
    cases = find_cases()
    if cases is None:
        if os.geteuid():
            sys.exit(f"{LEFT_OUT}. They need root: sudo make conformance")
        golden = subprocess.run(["tools/run-tests", _GOLDEN], cwd=PROJECT, check=False)
        print(LEFT_OUT)
        return golden.returncode
    BUILD.mkdir(exist_ok=True)
    try:
        verdicts = compare(cases, BUILD / "conformance.json", BUILD / "conformance-store", *words)
        if not words:
            verdicts += compare_plans(cases, BUILD / "conformance-bake.json")
    except subprocess.CalledProcessError as error:
        # It has said why.
        return error.returncode
    print(f"all verdicts: {BUILD}/conformance.json, conformance-bake.json")
    for line in tally(verdicts, load_excuses()):
        print(line)
    return int(bool(unexcused(verdicts, load_excuses())))


def find_cases() -> Path | None:
    """Return the directory of the cases; None if they aren't beside the project."""
    return find_beside("CONFORMANCE", "conformance", "difftest.py")


def compare(cases: Path, report: Path, store: Path, *words: str) -> list[Verdict]:
    """Build the cases into `store`, those that `words` choose, and return what came of each.

    Runs of the same cases wait for one another, as they want the same ports. Raises
    CalledProcessError if the comparison itself fails.
    """
    environ = {
        **os.environ,
        # They may lie in a directory that isn't ours to write to.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "POLYARCH_ROOT": str(store),
        "XDG_CONFIG_HOME": str(_with_mirror(store.parent / "conformance-config")),
    }
    command = ["--candidate", "polyarch build", "--json", str(report), *words]
    with _alone(cases), _registry():
        if not _has_bases():
            options = ["--registry", _HOST, "--cache", f"{BUILD}/conformance-packages"]
            _run(cases / "baseimages.py", options, environ)
        _run(cases / "difftest.py", command, environ)
    return [_verdict(entry) for entry in json.loads(report.read_text())]


def compare_plans(cases: Path, report: Path, *words: str) -> list[Verdict]:
    """Ask bake what it would build, and return what came of each case. Raises CalledProcessError."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PATH": path}
    command = ["--candidate", "polyarch bake", "--json", str(report), "--jobs=2", *words]
    _run(cases / "baketest.py", command, environ)
    return [
        _verdict({**entry, "case": f"bake/{entry['case']}"})
        for entry in json.loads(report.read_text())
    ]


def load_excuses() -> tuple[Excuse, ...]:
    """Return why which cases may differ."""
    return tuple(
        Excuse(
            reason=entry["reason"],
            kinds=frozenset(entry["kinds"]),
            cases=frozenset(entry["cases"]),
        )
        for entry in tomllib.loads(_EXCUSES.read_text()).get("excuse", ())
    )


def unexcused(verdicts: Iterable[Verdict], excuses: Sequence[Excuse]) -> dict[str, list[str]]:
    """Return what differs and may not, by name."""
    return {
        verdict.name: [f"{kind}: {text}" for kind, text in verdict.differences]
        for verdict in verdicts
        if verdict.differences and not verdict.is_excused(excuses)
    }


def tally(verdicts: Sequence[Verdict], excuses: Sequence[Excuse]) -> list[str]:
    """Return a line for each corpus, `N of M identical`, one for all, and why some may differ."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in sorted(verdicts, key=lambda one: one.corpus):
        groups.setdefault(verdict.corpus, []).append(verdict)
    lines = [_count(name, members) for name, members in groups.items()]
    if len(groups) > 1:
        lines.append(_count("all", verdicts))
    differing = [verdict for verdict in verdicts if verdict.differences]
    for excuse in excuses:
        names = sorted(one.name for one in differing if one.is_excused([excuse]))
        if names:
            lines.append(f"{len(names)} may differ, {excuse.reason}: {' '.join(names)}")
    return lines


def _count(name: str, verdicts: Sequence[Verdict]) -> str:
    identical = sum(not verdict.differences for verdict in verdicts)
    return f"{name}: {identical} of {len(verdicts)} identical"


def _verdict(entry: Mapping[str, object]) -> Verdict:
    found = entry["differences"]
    assert isinstance(found, list)
    return Verdict(
        name=str(entry["case"]),
        differences=tuple(
            (str(each["kind"]), f"{each['where']}: {each['expected']} -> {each['actual']}")
            for each in found
        ),
    )


def _with_mirror(directory: Path) -> Path:
    """Write settings for a case that gets at Docker Hub's images by a variable: they are these."""
    settings = directory / "polyarch/registries.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(f'[registry."docker.io"]\nmirrors = ["{_HOST}"]\n')
    return directory


def _run(program: Path, words: Sequence[str], environ: Mapping[str, str]) -> None:
    subprocess.run([sys.executable, str(program), *words], env=environ, check=True)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Lock a directory that may be another's: it is only read."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _registry() -> Iterator[None]:
    if _answers(f"http://{_HOST}/v2/"):
        print(f"using the registry that is at {_HOST}")
        yield
        return
    port = int(_HOST.rpartition(":")[2])
    with real_registry(BUILD / "conformance-registry", port=port):
        yield


def _has_bases() -> bool:
    return _answers(f"http://{_HOST}/v2/{_LAST_BASE}")


def _answers(url: str) -> bool:
    # A proxy for the internet is of no use for this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers={"Accept": _MANIFESTS}), timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
