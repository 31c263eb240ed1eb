"""Each output in each form, for one and for three platforms, taken by programs that we did not write.

What was taken is the table in `docs/guides/outputs.md`; run this file with TABLE=write to write it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.support.machine.engines import ROOT, SOURCE
from tests.support.machine.handlers import enclave
from tests.support.machine.peers import Engine, Podman, docker_engine
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root, pytest.mark.slow]

_PAGE = SOURCE.parent / "docs/guides/outputs.md"
_BEGIN, _END = "<!-- table of takers -->\n", "<!-- end of the table -->\n"
_PLATFORMS = {"1": "linux/amd64", "3": "linux/amd64,linux/arm64,linux/arm/v7"}
_DOCKER_TYPES = ",oci-mediatypes=false"
_FORMS = {
    "gzip": "",
    "gzip, Docker's types": _DOCKER_TYPES,
    "zstd": ",compression=zstd",
    "estargz": ",compression=estargz",
    "uncompressed": ",compression=uncompressed",
}
_TAKERS = ("docker-registry", "Docker engine", "podman", "skopeo", "umoci")
_DOCKERFILE = "FROM scratch\nARG TARGETARCH\nCOPY file /for-$TARGETARCH/\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The builder, and those who take its images."""

    builder: Person
    registry: str
    engine: Engine
    podman: Podman

    def build(self, platforms: str, *words: str) -> str:
        """Build, and return the digest that is told."""
        told = ("--metadata-file=told", f"--platform={_PLATFORMS[platforms]}")
        self.builder.run("build", *told, *words, ".").check()
        metadata = json.loads((self.builder.work / "told").read_text())
        return str(metadata["containerimage.digest"])

    def skopeo(self, *words: str) -> str:
        return self.builder.run_other("skopeo", *words).check().out

    def umoci_finds(self, layout: str, name: str) -> bool:
        """Tell whether umoci unpacks the image for amd64, with our file in it.

        It knows no platforms, and calls an index ambiguous, so skopeo picks the one.
        """
        picked = f"oci:{layout}-amd64:{name}"
        self.skopeo("copy", "-q", "--override-arch=amd64", f"oci:{layout}:{name}", picked)
        bundle = Path(tempfile.mkdtemp(dir=self.builder.work))
        where = ("--image", picked.removeprefix("oci:"), str(bundle / "root"))
        if self.builder.run_other("umoci", "raw", "unpack", *where).status:
            return False
        return (bundle / "root/for-amd64/file").read_text() == "content\n"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, registry: RealRegistry) -> Iterator[Bench]:
    builder = person(ROOT, tmp_path_factory.mktemp("takers") / "home")
    builder.write("Dockerfile", _DOCKERFILE)
    builder.write("file", "content\n")
    with (
        tempfile.TemporaryDirectory(prefix="polyarch-", dir="/tmp") as short,
        enclave([]) as inside,
        docker_engine(Path(short) / "d", inside, builder) as engine,
    ):
        podman = Podman(directory=Path(short) / "p", who=builder)
        yield Bench(builder=builder, registry=registry.host, engine=engine, podman=podman)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """All outputs of one build in one form: what they are called, and the digest that was printed."""

    platforms: str
    form: str
    digest: str
    pushed: str


def _make(bench: Bench, platforms: str, form: str) -> Made:
    name = (
        f"{bench.registry}/takers/{platforms}-{form.partition(',')[2].replace('=', '-') or 'gzip'}"
    )
    for left in ("layout", "layout-amd64", "copied"):
        shutil.rmtree(bench.builder.work / left, ignore_errors=True)
    outputs = [
        f"type=registry,name={name}",
        "type=oci,tar=false,dest=layout,name=x:v1",
        "type=oci,dest=image.tar,name=x:v1",
        f"type=docker,name=loaded:{platforms}",
        *(["type=docker,dest=docker.tar,name=x:v1"] if platforms == "1" else []),
    ]
    if form == _DOCKER_TYPES:
        outputs = [each for each in outputs if not each.startswith("type=oci")]
    words = [word for output in outputs for word in ("-o", output + form)]
    given = replace(bench.builder, environ={"DOCKER_HOST": bench.engine.address})
    digest = replace(bench, builder=given).build(platforms, *words)
    return Made(platforms=platforms, form=form, digest=digest, pushed=name)


def _pushed(bench: Bench, made: Made) -> list[str]:
    """Everybody fetches it by the digest that we printed."""
    by_digest = f"{made.pushed}@{made.digest}"
    source = f"docker://{made.pushed}"
    bench.skopeo("copy", "--all", "-q", "--src-tls-verify=false", source, "dir:copied")
    root = (bench.builder.work / "copied/manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(root).hexdigest()}" == made.digest
    bench.engine("pull", "--quiet", by_digest)
    bench.podman("pull", "--quiet", "--tls-verify=false", by_digest)
    return ["docker-registry", "Docker engine", "podman", "skopeo"]


def _layout(bench: Bench, made: Made) -> list[str]:
    assert f'"Digest": "{made.digest}"' in bench.skopeo("inspect", "oci:layout:v1")
    bench.podman("pull", "--quiet", "oci:layout:v1")
    return ["podman", "skopeo", *(["umoci"] if bench.umoci_finds("layout", "v1") else [])]


def _archive(bench: Bench, made: Made) -> list[str]:
    assert f'"Digest": "{made.digest}"' in bench.skopeo("inspect", "oci-archive:image.tar")
    assert "x:v1" in bench.podman("load", "--quiet", "--input=image.tar")
    return ["podman", "skopeo"]


def _docker_archive(bench: Bench, made: Made) -> list[str]:
    assert bench.engine("load", "--input=docker.tar").endswith("Loaded image: x:v1\n")
    bench.skopeo("inspect", "docker-archive:docker.tar")
    assert "x:v1" in bench.podman("load", "--quiet", "--input=docker.tar")
    return ["Docker engine", "podman", "skopeo"]


def _loaded(bench: Bench, made: Made) -> list[str]:
    tags = {made.platforms}
    if made.platforms == "3":
        tags |= {"3-amd64", "3-arm64", "3-arm-v7"}
    assert tags <= {*bench.engine("images", "--format={{.Tag}}", "loaded").split()}
    podman = replace(bench, builder=replace(bench.builder, environ=bench.podman.environ()))
    podman.build(made.platforms, "-o", f"type=docker,name=loaded:{made.platforms}{made.form}")
    bench.podman("image", "inspect", f"docker.io/library/loaded:{made.platforms}")
    return ["Docker engine", "podman"]


_Take = Callable[[Bench, Made], list[str]]
_OUTPUTS: dict[str, tuple[_Take, tuple[str, ...]]] = {
    "`--push`": (_pushed, ("1", "3")),
    "`type=oci`, a directory": (_layout, ("1", "3")),
    "`type=oci`, an archive": (_archive, ("1", "3")),
    "`type=docker`, an archive": (_docker_archive, ("1",)),
    "`--load`": (_loaded, ("1", "3")),
}
_OF_OCI = frozenset({_layout, _archive})
"""Outputs that have OCI's types alone: others in such a layout are passed over by those who read it."""


def test_the_table_of_those_who_take_images(bench: Bench) -> None:
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for form, attributes in _FORMS.items():
        for platforms in _PLATFORMS:
            made = _make(bench, platforms, attributes)
            for output, (take, counts) in _OUTPUTS.items():
                if take in _OF_OCI and attributes == _DOCKER_TYPES:
                    continue
                row = rows.setdefault((output, form), {taker: [] for taker in _TAKERS})
                for taker in take(bench, made) if platforms in counts else ():
                    row[taker].append(platforms)
    lines = [
        f"| output | form | {' | '.join(_TAKERS)} |\n",
        "|---|---|" + "---|" * len(_TAKERS) + "\n",
    ]
    for output in _OUTPUTS:
        for form in _FORMS:
            if (output, form) in rows:
                cells = (", ".join(each) for each in rows[output, form].values())
                lines.append(f"| {output} | {form} | {' | '.join(cells)} |\n")
    page = _PAGE.read_text()
    before, _, rest = page.partition(_BEGIN)
    after = rest.partition(_END)[2]

    written = f"{before}{_BEGIN}{''.join(lines)}{_END}{after}"

    if os.environ.get("TABLE") == "write":
        _PAGE.write_text(written)
    assert page == written
