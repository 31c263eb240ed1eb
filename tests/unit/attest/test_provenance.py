"""The predicates of SLSA: what each mode tells, what a version is called, what can't be promised.

The shapes are checked against the specifications of SLSA v1.0 and v0.2, whose fields of each kind are listed here.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as StatementMessage

from polyarch.attest.invocations import NOBODY, Invocation
from polyarch.attest.options import ProvenanceOptions
from polyarch.attest.parameters import Parameters
from polyarch.attest.provenance import Facts, newest, older, predicate, predicate_type
from polyarch.attest.sources import Resolved, find_sources
from polyarch.attest.statement import Predicate, Subject
from polyarch.attest.steps import Hiding
from polyarch.digest import sha256
from polyarch.errors import InputError
from polyarch.graph.location import SourceText
from polyarch.graph.op import CopyAction, ExecOp, FileOp, GitOp, ImageOp, LocalOp, SecretMount
from polyarch.graph.vertex import Vertex, make_vertex
from polyarch.platforms import linux
from polyarch.record import replace

AMD64 = linux("amd64")
RUN = Invocation(id="x" * 25, started=1_700_000_000_000_000_000, finished=1_700_000_001_000_000_000)
MIN, MAX = ProvenanceOptions(mode="min"), ProvenanceOptions(mode="max")
GIT = GitOp(remote="https://example.test/a.git", ref="main")
COMMIT = "9f" * 20
ADDRESS = "https://example.test/a.git#main"
PARAMETERS = Parameters(
    args={"build-arg:V": "1", "label:l": "2", "target": "app"},
    vcs={"revision": COMMIT},
    path="Dockerfile",
)


def base() -> Vertex:
    digest = sha256(b"m")
    return make_vertex(
        ImageOp(reference="example.test/base:1", digest=digest, platform=AMD64, diff_ids=())
    )


def step(**fields: Any) -> Vertex:
    mounts = (SecretMount(id="s", target="/s"),)
    op = ExecOp(argv=("a",), env=(), cwd="/", user="", platform=AMD64, mounts=mounts, **fields)
    return make_vertex(op, (base(),))


def facts(target: Vertex | None = None, **fields: Any) -> Facts:
    target = target or step()
    given: dict[str, Any] = {
        "parameters": PARAMETERS,
        "sources": find_sources(target, (), {}, {}),
        "target": target,
        "dockerfile": SourceText(name="Dockerfile", text="FROM base\n"),
        "builder": AMD64,
        **fields,
    }
    return Facts(**given)


def fetched(*, is_taken: bool) -> Facts:
    target = step(network="none")
    if is_taken:
        context = make_vertex(LocalOp(name="context"))
        copy = FileOp(actions=(CopyAction(input=1, sources=("a",), destination="/"),))
        target = make_vertex(copy, (target, context))
    contexts = {"context": GIT}
    return facts(
        target,
        parameters=replace(PARAMETERS, context=ADDRESS, vcs={}),
        sources=find_sources(target, (), {GIT: COMMIT}, contexts),
        config=GIT,
        remote=contexts,
    )


def plain(value: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(value))
    return found


def test_the_short_form_has_no_arguments_labels_and_secrets() -> None:
    made = plain(predicate(facts(), MIN, RUN))

    request = made["buildDefinition"]["externalParameters"]["request"]
    assert request == {
        "frontend": "dockerfile.v0",
        "args": {"target": "app"},
        "locals": [{"name": "context"}, {"name": "dockerfile"}],
        "root": {
            "configSource": {"path": "Dockerfile"},
            "request": {"args": {"target": "app", "vcs:revision": COMMIT}},
        },
        "compatibilityVersion": 30,
    }
    assert made["buildDefinition"]["internalParameters"].keys() == {
        "builderPlatform",
        "dockerfileVersion",
    }
    assert made["runDetails"] == {
        "builder": {"id": ""},
        "metadata": {
            "invocationId": "x" * 25,
            "startedOn": "2023-11-14T22:13:20Z",
            "finishedOn": "2023-11-14T22:13:21Z",
            "buildkit_metadata": {"vcs": {"revision": COMMIT}},
            "buildkit_completeness": {"request": False, "resolvedDependencies": False},
        },
    }


def test_the_full_form_tells_of_all() -> None:
    made = plain(predicate(facts(), replace(MAX, builder_id="me", reproducible=True), RUN))

    request = made["buildDefinition"]["externalParameters"]["request"]
    assert (request["args"], request["secrets"]) == (
        dict(PARAMETERS.args),
        [{"id": "s", "optional": True}],
    )
    assert "buildConfig" in made["buildDefinition"]["internalParameters"]
    metadata = made["runDetails"]["metadata"]
    assert metadata["buildkit_completeness"]["request"]
    assert metadata["buildkit_reproducible"]
    (info,) = metadata["buildkit_metadata"]["source"]["infos"]
    assert (info["filename"], base64.b64decode(info["data"])) == ("Dockerfile", b"FROM base\n")
    assert made["runDetails"]["builder"] == {"id": "me"}


@pytest.mark.parametrize("is_taken", [True, False])
def test_a_context_that_is_fetched_is_the_source(is_taken: bool) -> None:
    made = plain(predicate(fetched(is_taken=is_taken), MIN, RUN))

    definition = made["buildDefinition"]
    source = {"uri": ADDRESS, "digest": {"sha1": COMMIT}, "path": "Dockerfile"}
    assert definition["externalParameters"]["configSource"] == source
    root = definition["externalParameters"]["request"]["root"]["configSource"]
    # As in BuildKit, where only what steps take from is known by then.
    assert ("digest" in root) == is_taken
    assert "locals" not in definition["externalParameters"]["request"]
    assert definition["resolvedDependencies"][-1] == {"uri": ADDRESS, "digest": {"sha1": COMMIT}}
    assert made["runDetails"]["metadata"]["buildkit_hermetic"]
    assert made["runDetails"]["metadata"]["buildkit_completeness"]["resolvedDependencies"]


def test_complete_materials_can_only_be_promised_of_what_is_fetched() -> None:
    wanted = replace(MIN, complete_materials=True)

    with pytest.raises(InputError) as caught:
        predicate(facts(), wanted, RUN)

    assert str(caught.value) == (
        "provenance materials are incomplete\n\nThe build requested complete provenance materials, but not all "
        "dependencies could be captured.\n\nUncaptured local sources:\n  - context\n    reason: local_source"
        "\n  - dockerfile\n    reason: local_source"
    )
    assert predicate(fetched(is_taken=True), wanted, RUN)


def test_what_is_likely_to_be_a_secret_is_not_told() -> None:
    hidden = replace(PARAMETERS, args={"build-arg:TOKEN": "xxxxx"}, hides=True)
    given = facts(
        parameters=hidden,
        dockerfile=SourceText(name="Dockerfile", text="RUN echo hunter22\n"),
        hiding=Hiding(names=frozenset({"TOKEN"}), values=("hunter22",)),
    )

    made = plain(predicate(given, MAX, RUN))

    assert not made["runDetails"]["metadata"]["buildkit_completeness"]["request"]
    (info,) = made["runDetails"]["metadata"]["buildkit_metadata"]["source"]["infos"]
    assert base64.b64decode(info["data"]) == b"RUN echo xxxxx\n"


# The fields of the specifications; `buildkit_` and the rest of BuildKit's are extensions, as they allow.
_SLSA_1 = {
    "buildDefinition": {
        "buildType": str,
        "externalParameters": dict,
        "internalParameters": dict,
        "resolvedDependencies": list,
    },
    "runDetails": {"builder": dict, "metadata": dict},
}
_SLSA_02 = {
    "builder": dict,
    "buildType": str,
    "invocation": {"configSource": dict, "parameters": dict, "environment": dict},
    "buildConfig": dict,
    "metadata": {
        "buildInvocationID": str,
        "buildStartedOn": str,
        "buildFinishedOn": str,
        "completeness": {"parameters": bool, "environment": bool, "materials": bool},
        "reproducible": bool,
    },
    "materials": list,
}


def _check(value: Any, shape: Any) -> None:
    if isinstance(shape, dict):
        for name, inner in shape.items():
            _check(value[name], inner)
    else:
        assert isinstance(value, shape)


def test_both_versions_have_the_fields_of_their_specifications() -> None:
    resolved = Resolved(reference="example.test/base:1", platform=AMD64, digest=sha256(b"i"))
    target = step()
    given = facts(target, sources=find_sources(target, (resolved,), {}, {}))
    made = predicate(given, MAX, RUN)

    new, old = plain(newest(made)), plain(older(made))

    _check(new, _SLSA_1)
    _check(old, _SLSA_02)
    for material in (*new["buildDefinition"]["resolvedDependencies"], *old["materials"]):
        assert material.keys() == {"uri", "digest"}
    assert old["invocation"]["configSource"] == {"entryPoint": "Dockerfile"}
    assert old["buildType"] == "https://mobyproject.org/buildkit@v1"
    assert "https://mobyproject.org/buildkit@v1#metadata" in old["metadata"]
    internal = list(new["buildDefinition"]["internalParameters"])
    assert internal == sorted(internal)
    types = [predicate_type(MAX), predicate_type(replace(MAX, version="v0.2"))]
    assert types == ["https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"]


@pytest.mark.parametrize("options", [MIN, MAX], ids=lambda options: options.mode)
def test_it_is_what_the_library_of_in_toto_reads(options: ProvenanceOptions) -> None:
    """A field that its messages don't have is an error there, but for BuildKit's own three, which SLSA allows."""
    made = plain(newest(predicate(fetched(is_taken=True), options, RUN)))
    metadata = made["runDetails"]["metadata"]
    extensions = {
        name: metadata.pop(name) for name in list(metadata) if name.startswith("buildkit_")
    }
    stated = Predicate(type=predicate_type(options), content=made, filename="provenance.json")
    subjects = [Subject(name="app", digest=sha256(b"app"))]

    statement = ParseDict(json.loads(stated.statement(subjects)), StatementMessage())
    read = ParseDict(made, Provenance())

    Statement.copy_from_pb(statement).validate()
    assert set(extensions) <= {"buildkit_metadata", "buildkit_completeness", "buildkit_hermetic"}
    assert read.run_details.metadata.invocation_id == RUN.id
    assert len(read.build_definition.resolved_dependencies) == 2


def test_a_hermetic_build_says_so_in_both() -> None:
    old = plain(older(predicate(fetched(is_taken=True), MIN, NOBODY)))

    assert old["metadata"]["https://mobyproject.org/buildkit@v1#hermetic"]
    assert "buildConfig" not in old
