"""Policies: what they are told, what they ask for, what they decide."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.platforms import parse
from polyarch.policies.builtins import ARITIES
from polyarch.policies.checking import Denied, Policies, decide, require
from polyarch.policies.default import DEFAULT
from polyarch.policies.files import Directory, Places
from polyarch.policies.helpers import HELPERS
from polyarch.policies.inputs import Env, input_of
from polyarch.policies.policy import Action, Decision, File, Level, Policy
from polyarch.policies.told import NOTHING, Chain, Source, Told, ToldGit, ToldHttp, ToldImage, Wish
from polyarch.rego.context import Context
from polyarch.rego.documents import find_value
from polyarch.rego.faults import RegoError
from polyarch.rego.modules import parse_module
from polyarch.rego.program import compile_modules
from polyarch.rego.values import from_plain, plain

AMD64 = parse("linux/amd64")
DIGEST = "sha256:" + "a" * 64
BUSYBOX = Source(identifier="docker-image://docker.io/library/busybox:latest", platform=AMD64)
FILE = Source(identifier="https://example.com/a/file?x=1&x=2")
REPOSITORY = Source(
    identifier="git://example.com/a.git#v1:sub",
    attributes={"git.fullurl": "https://example.com/a.git"},
)
CONFIG = {
    "created": "2026-01-02T03:04:05.678Z",
    "config": {
        "Labels": {"a": "b"},
        "Env": ["P=1"],
        "User": "u",
        "Volumes": {"/v": {}},
        "WorkingDir": "/w",
    },
}


def policy(rules: str, directory: Path | None = None, log: list[str] | None = None) -> Policy:
    places = Places(context=None if directory is None else Directory(path=str(directory)))

    def note(level: Level, text: str) -> None:
        if log is not None and level <= Level.INFO:
            log.append(text)

    env = Env(args={"A": "1"}, labels={"l": "2"}, filename="Dockerfile", target="final")
    return Policy([File(name="p.rego", text=f"package docker\n{rules}")], env, places.read, note)


def allows(rules: str, source: Source = BUSYBOX, told: Told = NOTHING) -> bool:
    found = policy(f'decision := {{"allow": allow}}\ndefault allow := false\n{rules}').decide(
        source, told
    )
    assert isinstance(found, Decision)
    return found.action == Action.ALLOW


# --- the input ---


def test_images_by_name() -> None:
    given = input_of(BUSYBOX, NOTHING)

    assert given.fields["image"] == {
        "ref": "docker.io/library/busybox:latest",
        "host": "docker.io",
        "repo": "busybox",
        "fullRepo": "docker.io/library/busybox",
        "tag": "latest",
        "platform": "linux/amd64",
        "os": "linux",
        "arch": "amd64",
    }
    assert given.pending == tuple(
        f"image.{each}"
        for each in (
            "checksum", "labels", "user", "volumes", "workingDir", "env", "hasProvenance", "provenance", "signatures",
        )
    )  # fmt: skip


def test_images_by_digest_have_their_digest() -> None:
    source = Source(identifier=f"docker-image://docker.io/library/busybox@{DIGEST}", platform=AMD64)
    image = input_of(source, NOTHING).fields["image"]

    assert isinstance(image, dict)
    assert image["checksum"] == DIGEST
    assert image["isCanonical"] is True


def test_images_whose_config_is_known() -> None:
    told = Told(image=ToldImage(digest=DIGEST, config=CONFIG, chain=Chain(has_attestations=True)))
    given = input_of(BUSYBOX, told)
    image = given.fields["image"]

    assert isinstance(image, dict)
    assert image["createdTime"] == "2026-01-02T03:04:05Z"
    assert [image[each] for each in ("labels", "env", "user", "volumes", "workingDir", "hasProvenance")] == [
        {"a": "b"}, ["P=1"], "u", ["/v"], "/w", True,
    ]  # fmt: skip
    assert given.pending == ("image.provenance", "image.signatures")


def test_provenance_is_read() -> None:
    statement = {
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "t",
                "externalParameters": {
                    "request": {"frontend": "dockerfile.v0", "args": {"build-arg:A": "1"}}
                },
            },
            "runDetails": {
                "builder": {"id": "b"},
                "metadata": {"startedOn": "2026-01-02T03:04:05.6Z"},
            },
        },
    }
    chain = Chain(has_attestations=True, statements=(statement,))
    told = Told(image=ToldImage(digest=DIGEST, chain=chain))

    assert allows(
        'allow if { p := input.image.provenance; p.frontend == "dockerfile.v0"; p.buildArgs.A == "1";'
        ' p.startedOn == "2026-01-02T03:04:05Z"; p.completeness.materials == false }',
        told=told,
    )


def test_files_of_web_servers() -> None:
    assert allows(
        'allow if { input.http.host == "example.com"; input.http.path == "/a/file"; input.http.schema == "https";'
        ' input.http.query.x[_] == "2"; input.http.checksum == "sha256:1" }',
        FILE,
        Told(http=ToldHttp(checksum="sha256:1")),
    )


def test_repositories() -> None:
    git = input_of(REPOSITORY, NOTHING).fields["git"]

    assert git == {
        "schema": "https",
        "host": "example.com",
        "remote": "https://example.com/a.git",
        "fullURL": "https://example.com/a.git",
        "subDir": "sub",
    }


def test_commits_are_read() -> None:
    raw = (
        b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\n"
        b"author Ada L <ada@example.com> 1700000000 +0100\n"
        b"committer Ada L <ada@example.com> 1700000000 +0000\n\nfirst\n"
    )
    digest = hashlib.sha1(b"commit %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
    told = Told(
        git=ToldGit(ref="refs/tags/v1", checksum="c" * 40, commit=digest, commit_object=raw)
    )

    assert allows(
        'allow if { input.git.commit.message == "first"; input.git.tagName == "v1"; input.git.isAnnotatedTag;'
        ' input.git.commit.author.when == "2023-11-14T23:13:20+01:00"; input.git.commit.committer.name == "Ada L" }',
        REPOSITORY,
        told,
    )


def test_what_the_build_is() -> None:
    assert allows(
        'allow if { input.env == {"args": {"A": "1"}, "labels": {"l": "2"}, "filename": "Dockerfile",'
        ' "target": "final", "depth": 0} }'
    )


# --- decisions ---


def test_a_policy_asks_for_what_it_looks_at_alone() -> None:
    rules = 'decision := {"allow": allow}\ndefault allow := false\nallow if %s'

    assert policy(rules % 'input.image.repo == "busybox"').decide(BUSYBOX) == Decision(
        action=Action.ALLOW
    )
    assert policy(rules % 'input.image.labels.a == "b"').decide(BUSYBOX) == Wish(
        fields=frozenset({"image.labels"})
    )


def test_wishes_are_fulfilled_one_after_the_other() -> None:
    asked: list[Wish] = []

    def find(_source: Source, wish: Wish) -> Told:
        asked.append(wish)
        chain = Chain(has_attestations=False, statements=()) if wish.has_chain else None
        return Told(
            image=ToldImage(digest=DIGEST, config=CONFIG if wish.has_config else None, chain=chain)
        )

    rules = 'decision := {"allow": input.image.labels.a == "b", "deny_msg": [m | m := input.image.hasProvenance]}'
    found = decide(policy(rules), BUSYBOX, find)

    assert found == Decision(action=Action.ALLOW)
    assert [each.has_chain for each in asked] == [False, True]
    assert asked[1].has_config


def test_what_cant_be_found_out_is_said() -> None:
    rules = 'decision := {"allow": count(input.image.signatures) > 0}'

    with pytest.raises(InputError, match=r"asks for \[image.signatures\] of docker-image://"):
        decide(policy(rules), BUSYBOX, lambda _source, _wish: Told(image=ToldImage(digest=DIGEST)))


def test_denials_have_their_messages_in_order() -> None:
    denying = policy('decision := {"allow": false, "deny_msg": ["b", "a", 1]}')

    with pytest.raises(Denied) as raised:
        require(denying, BUSYBOX, lambda _source, _wish: NOTHING)

    assert str(raised.value) == (
        'source "docker-image://docker.io/library/busybox:latest" not allowed by policy: action DENY'
    )
    assert raised.value.messages == ("b", "a")


def test_images_are_pinned() -> None:
    pinning = policy(f'decision := {{"allow": pin_image(input.image, "{DIGEST}")}}')

    found = require(pinning, BUSYBOX, lambda _source, _wish: NOTHING)

    assert found.identifier == f"docker-image://docker.io/library/busybox:latest@{DIGEST}"
    assert found.attributes == {"image.checksum": DIGEST}


def test_all_policies_have_to_allow() -> None:
    yes, no = policy('decision := {"allow": true}'), policy('decision := {"allow": false}')

    assert Policies(policies=(yes, no)).decide(BUSYBOX) == Decision(action=Action.DENY)
    assert Policies(policies=(yes, yes)).decide(BUSYBOX) == Decision(action=Action.ALLOW)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ("x := 1", "policy returned zero result"),
        ("decision := 1", "unexpected policy return type"),
        ('decision := {"allow": "yes"}', "invalid allowed property"),
        ('decision := {"caps": {"nope": true}}', 'unknown policy cap "nope"'),
        ('decision := {"caps": {"exec.proxy": 1}}', "invalid caps.exec.proxy property"),
    ],
)
def test_decisions_have_a_form(rules: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        policy(rules).decide(BUSYBOX)


def test_caps_are_asked_for_by_themselves() -> None:
    rules = 'default caps := {}\ncaps := {"exec.proxy": true} if input.env.capsRequest\n'

    assert policy(rules + 'decision := {"allow": true, "caps": caps}').caps() == {
        "exec.proxy": True
    }


def test_the_log_tells_what_is_decided() -> None:
    log: list[str] = []
    policy(
        'decision := {"allow": false, "deny_msg": ["no"]} if print("at", input.image.repo)', log=log
    ).decide(BUSYBOX)

    assert log == [
        f"checking policy for source {BUSYBOX}",
        "p.rego:2: at busybox",
        f"policy decision for source {BUSYBOX}: DENY",
        " - no",
    ]


# --- files ---


def test_files_are_imported_and_loaded(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/names.rego").write_text('package whatever\nok := load_json("lib/a.json").ok')
    (tmp_path / "lib/a.json").write_text(json.dumps({"ok": True}))
    rules = 'import data.lib.names\ndecision := {"allow": names.ok}'

    assert policy(rules, tmp_path).decide(BUSYBOX) == Decision(action=Action.ALLOW)


def test_imports_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(RegoError, match=r"import data\.lib not found for module p\.rego"):
        policy("import data.lib\nx := 1", tmp_path).decide(BUSYBOX)


@pytest.mark.parametrize("name", ["../a.json", "/etc/passwd", "a/../../b"])
def test_nothing_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of"):
        Directory(path=str(tmp_path)).read(name)


def test_what_isnt_there_is_refused_by_name() -> None:
    rules = 'decision := {"allow": artifact_attestation(input.http, "a.json").kind == "x"}'

    with pytest.raises(InputError, match="artifact_attestation isn't there yet"):
        policy(rules).decide(FILE)


# --- the helpers ---

SIGNER: dict[str, str] = {
    "certificateIssuer": "CN=sigstore-intermediate,O=sigstore.dev",
    "issuer": "https://token.actions.githubusercontent.com",
    "sourceRepositoryURI": "https://github.com/org/repo",
    "sourceRepositoryRef": "refs/tags/v1",
    "runnerEnvironment": "github-hosted",
    "buildTrigger": "push",
}
SIGNATURE: dict[str, object] = {
    "kind": "docker-github-builder",
    "type": "bundle-v0.3",
    "timestamps": [{"type": "tlog"}],
    "signer": SIGNER,
}


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ('docker_github_builder(i, "org/repo")', True),
        ('docker_github_builder(i, "org/other")', False),
        ('docker_github_builder_tag(i, "org/repo", "v1")', True),
        ('docker_github_builder_tag(i, "org/repo", "v2")', False),
        (
            'docker_github_builder_signature(object.remove(i.signatures[0], ["timestamps"]), "org/repo")',
            False,
        ),
    ],
)
def test_helpers_know_images_of_dockers_builder(call: str, expected: bool) -> None:
    image = json.dumps({"hasProvenance": True, "signatures": [SIGNATURE]})

    assert allows(f"allow if {{ i := {image}; {call} }}") is expected


# --- the default policy ---


@pytest.mark.parametrize(
    ("name", "ref", "allowed"),
    [
        ("docker/dockerfile:1.20", "", True),
        ("docker/dockerfile:1.21", "refs/tags/dockerfile/1.21.0", True),
        ("docker/dockerfile:1.21", "refs/tags/dockerfile/1.22.0", False),
        ("docker/dockerfile:1.21-labs", "refs/tags/dockerfile/1.21.0-labs", True),
        ("docker/dockerfile:1.21-labs", "refs/tags/dockerfile/1.21.0", False),
        ("docker/dockerfile:1", "refs/tags/dockerfile/1.22.0", True),
        ("docker/dockerfile:latest", "refs/heads/master", True),
        ("docker/dockerfile:nope", "", True),
        ("docker/buildkit-syft-scanner:1.9", "", True),
        ("docker/buildkit-syft-scanner:1.10.1", "refs/tags/1.10.1", True),
        ("moby/buildkit:v0.26.3", "", True),
        ("moby/buildkit:v0.27.0-rootless", "refs/tags/v0.27.0", True),
        ("moby/buildkit:v0.27.0", "refs/tags/v0.28.0", False),
        ("moby/buildkit:v1.0.0-rc1", "refs/tags/v1.0.0-rc1", True),
        ("moby/buildkit:buildx-stable-1", "refs/heads/master", True),
        ("library/busybox:latest", "", True),
    ],
)
def test_dockers_own_images_have_to_be_signed(name: str, ref: str, allowed: bool) -> None:
    own = "docker/buildkit-syft-scanner" if "syft" in name else "moby/buildkit"
    signer: dict[str, str] = {**SIGNER, "sourceRepositoryURI": f"https://github.com/{own}"}
    repository, _, tag = name.partition(":")
    image = {"ref": name, "fullRepo": f"docker.io/{repository}", "tag": tag}

    def decision(signatures: list[object]) -> object:
        modules = [parse_module("h.rego", HELPERS), parse_module("d.rego", DEFAULT)]
        given = from_plain({"image": {**image, "signatures": signatures}})
        program = compile_modules(modules, ARITIES)
        value = find_value(Context(program, host={}, given=given), ("docker", "decision"))
        found = plain(value)
        assert isinstance(found, dict)
        return found["allow"]

    assert decision([{**SIGNATURE, "signer": {**signer, "sourceRepositoryRef": ref}}]) is allowed
    # Without a signature the same, unless one is needed.
    assert decision([]) is (allowed and not ref)
