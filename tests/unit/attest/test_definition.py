"""The steps of a build as provenance has them, beside those that BuildKit recorded of the same Dockerfile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from polyarch.attest.definition import Definition
from polyarch.attest.steps import Hiding
from polyarch.digest import sha256
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.graph.op import GitOp, HttpOp
from polyarch.graph.vertex import Vertex
from polyarch.oci.descriptor import Descriptor
from polyarch.request.limits import Ulimit
from tests.support.dockerfiles.lowering import AMD64, Images

BASE = "registry.test/busybox"
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
DOCKERFILE = f"""\
FROM {BASE} AS one
RUN --mount=type=bind,source=d,target=/d,rw --mount=type=bind,from=two,target=/two echo one > /one
USER nobody
RUN ["/bin/sh", "-c", "true"]
FROM scratch AS two
COPY a /
FROM {BASE}
ARG V
ENV E=$V
COPY --chown=1:2 --chmod=640 a d/ /x/
COPY --chown=nobody --exclude=*.o d /y
COPY --from=two --chmod=u+x /a /z
ADD t.tar /t/
COPY --link a /l
COPY --parents d/b /p/
WORKDIR /w
RUN --network=none --mount=type=secret,id=s,target=/s,mode=0444,uid=5 true
"""
RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded.json").read_text())


def lowered(text: str, **options: Any) -> Vertex:
    source = SourceText(name="Dockerfile", text=text)
    images = Images({BASE: {"Env": [PATH]}})
    wanted = LowerOptions(build_platform=AMD64, **options)
    return lower(parse(source), AMD64, options=wanted, maker=GraphMaker(), images=images).vertex


def definition(text: str, hiding: Hiding | None = None, **options: Any) -> Definition:
    return Definition.of(lowered(text, **options), hiding or Hiding(), {})


def steps_of(found: Definition) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads(json.dumps(found.build_config()["llbDefinition"]))
    return steps


def test_steps_are_those_of_buildkit() -> None:
    found = definition(
        DOCKERFILE,
        build_args={"V": "1"},
        ulimits=(Ulimit(name="nofile", soft=1000, hard=2000),),
        extra_hosts=(("h", "1.2.3.4"),),
        shm_size=1 << 20,
    )

    text = json.dumps(steps_of(found))
    digest = sha256(f"{BASE} {AMD64}".encode())
    # The image of the tests has no tag, and other bytes.
    plain = text.replace(f"{BASE}@{digest}", f"{BASE}:latest@sha256:DIGEST")
    assert json.loads(plain) == RECORDED["steps"]


def test_each_digest_stands_for_a_step() -> None:
    found = definition(DOCKERFILE)

    config = json.loads(json.dumps(found.build_config()))
    numbers = sorted(config["digestMapping"].values(), key=lambda name: int(name[4:]))
    assert numbers == [step["id"] for step in config["llbDefinition"]]


def test_here_documents_are_files() -> None:
    (_, made, _) = steps_of(definition(f"FROM {BASE}\nCOPY --chmod=755 <<a /x/\nhi\na\n"))

    (action,) = made["op"]["Op"]["file"]["actions"]
    assert action["Action"]["mkfile"] == {
        "path": "/x/a",
        "mode": 0o755,
        "data": "aGkK",
        "timestamp": -1,
    }


def test_sources_elsewhere() -> None:
    text = "FROM scratch\nADD https://example.test/f /\nADD https://example.test/a.git#v1:sub /a\n"

    sources = [
        step["op"]["Op"]["source"]
        for step in steps_of(definition(text))
        if "source" in step["op"]["Op"]
    ]

    assert sources == [
        {"identifier": "https://example.test/f", "attrs": {"http.filename": "f"}},
        {
            "identifier": "git://example.test/a.git#v1:sub",
            "attrs": {
                "git.authheadersecret": "GIT_AUTH_HEADER",
                "git.authtokensecret": "GIT_AUTH_TOKEN",
                "git.fullurl": "https://example.test/a.git",
            },
        },
    ]


def test_a_context_is_what_it_was_fetched_from() -> None:
    target = lowered(f"FROM {BASE}\nCOPY a /\n")
    places = (
        HttpOp(url="https://me:pw@example.test/c.tar", filename="context"),
        GitOp(remote="git@example.test:me/a.git", ref="main"),
    )

    found = [
        steps_of(Definition.of(target, Hiding(), {"context": place}))[1]["op"]["Op"]["source"]
        for place in places
    ]

    assert [each["identifier"] for each in found] == [
        "https://xxxxx:xxxxx@example.test/c.tar",
        "git://example.test/me/a.git#main",
    ]


def test_secrets_stand_nowhere() -> None:
    hiding = Hiding(names=frozenset({"TOKEN", "V"}), values=("hunter22",))
    text = f"FROM {BASE}\nARG TOKEN\nARG V\nRUN a\nWORKDIR /$TOKEN\nCOPY x /$TOKEN/\n"

    found = definition(text, hiding, build_args={"TOKEN": "hunter22", "V": "2"})

    written = json.dumps(steps_of(found))
    assert "hunter22" not in written
    assert "TOKEN=xxxxx" in written
    assert "V=2" in written
    assert "/xxxxx/" in written


def test_layers_after_each_step() -> None:
    found = definition(f"FROM {BASE}\nRUN a\nCOPY --link x /\nRUN b\n")
    layers = [
        Descriptor(media_type="layer", digest=sha256(b"%d" % number), size=1) for number in range(4)
    ]

    told = json.loads(json.dumps(found.layers(layers)))

    assert {step: len(chains[0]) for step, chains in told.items()} == {
        "step0:0": 1,
        "step1:0": 2,
        "step4:0": 3,
        "step5:0": 4,
    }
    assert found.layers(layers[:2]) == {}  # not those of this result


def test_places_in_the_dockerfile() -> None:
    found = definition(f"FROM {BASE}\nRUN a \\\n b\n")

    place = {"start": {"line": 2}, "end": {"line": 3}}
    assert found.locations()["step1"] == {"locations": [{"ranges": [place]}]}
