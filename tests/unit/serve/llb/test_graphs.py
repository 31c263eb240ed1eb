"""LLB as graphs of ours: definitions are written here as libraries write them."""

from __future__ import annotations

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.errors import InputError, IntegrityError
from polyarch.graph.actions import Manner, RmAction, SymlinkAction
from polyarch.graph.graph import GraphMaker, walk
from polyarch.graph.op import (
    BindMount,
    CacheMount,
    CopyAction,
    DiffOp,
    ExecOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    LocalOp,
    MergeOp,
    MkdirAction,
    MkfileAction,
    OutputOp,
    ScratchOp,
    SecretMount,
    Sharing,
    SshMount,
    TmpfsMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import DEFAULT_PATH, BaseImage
from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform, host
from polyarch.record import replace
from polyarch.serve.llb.definition import read_definition
from polyarch.serve.llb.execs import ExecReader
from polyarch.serve.llb.graphs import Lowering
from polyarch.wire import field
from tests.support.callers.graphs import (
    BUILD,
    DIFF,
    EXEC,
    FILE,
    MERGE,
    NONE,
    PASSTHROUGH,
    SOURCE,
    Graph,
    action,
    meta,
    mount,
)

ARM = field(1, "arm64") + field(2, "linux")


class Images:
    """Knows all images: each is one layer, which is called as it is."""

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        return BaseImage(
            reference=reference,
            digest=sha256(reference.encode()),
            config=ImageConfig(platform=platform, diff_ids=(DiffID(sha256(reference.encode())),)),
        )


def lowering(definition: bytes, *allowed: str) -> Lowering:
    return Lowering(
        definition=read_definition(definition),
        maker=GraphMaker(),
        images=Images(),
        bring_layout=lambda address, store: f"oci-layout:///here/{store}",
        bring_result=lambda ref: f"oci-layout:///results/{ref}",
        execs=ExecReader(allow=frozenset(allowed)),
    )


def lower(graph: Graph, wanted: Digest, output: int = 0, *allowed: str) -> Vertex:
    return lowering(graph.definition((wanted, output)), *allowed).lower()


def test_an_image_and_a_step_with_all_mounts() -> None:
    graph = Graph()
    base = graph.source("docker-image://docker.io/library/base", platform=ARM)
    local = graph.source("local://src", attributes={"local.excludepatterns": '["*.log"]'})
    body = b"".join(
        (
            meta("sh", "-c", "x", more=field(2, "A=b") + field(4, "user") + field(7, "host")),
            mount("/", 0, f4=0),
            mount("/src", 1, f2="sub", f5=1),
            mount("/cache", NONE, f6=3, f20=field(1, "id") + field(2, 2)),
            mount("/tmp", NONE, f6=4, f19=field(1, 4096)),
            mount("/secret", NONE, f6=1, f21=field(1, "s") + field(4, 0o400) + field(5, 1)),
            mount("/ssh", NONE, f6=2, f22=field(4, 0o600)),
            field(5, field(1, "v") + field(2, "VAR")),
        )
    )
    named = field(2, field(1, "llb.customname") + field(2, "my step")) + field(1, 1)
    step = graph.op(EXEC, body, (base, 0), (local, 0), metadata=named, platform=ARM)

    made = lowering(graph.definition((step, 0)))
    found = made.lower()

    op = found.op
    assert isinstance(op, ExecOp)
    assert (found.name, found.ignore_cache) == ("my step", True)
    assert (op.argv, op.cwd, op.user, op.hostname) == (("sh", "-c", "x"), "/w", "user", "host")
    assert op.env == (f"PATH={DEFAULT_PATH}", "A=b")
    assert str(op.platform) == "linux/arm64"
    assert op.mounts == (
        BindMount(target="/src", input=1, source="sub", read_only=True),
        CacheMount(target="/cache", id="id", sharing=Sharing.LOCKED),
        TmpfsMount(target="/tmp", size=4096),
        SecretMount(id="s", target="/secret"),
        SshMount(id="default", target="/ssh", required=True),
        SecretMount(id="v", env="VAR", required=True),
    )
    image, source = (each.op for each in found.inputs)
    assert isinstance(image, ImageOp)
    assert (image.reference, str(image.platform)) == (
        "docker.io/library/base:latest",
        "linux/arm64",
    )
    assert isinstance(source, LocalOp)
    (wanted,) = made.found.values()
    assert (wanted.name, wanted.excludes) == ("src", ("*.log",))
    assert made.found.keys() == {source.name}


def test_files_are_changed_one_after_the_other() -> None:
    graph = Graph()
    source = graph.source("docker-image://other")
    owner = field(1, bytes((16, 5))) + field(2, field(1, field(1, "staff")))
    mkdir = field(1, "/d") + field(2, 0o700) + field(3, 1) + field(4, owner) + field(5, -1)
    mkfile = (
        field(1, "/d/f") + field(2, 0o640) + field(3, b"\xff") + field(5, 1_700_000_000 * 10**9)
    )
    copy = b"".join(
        (
            field(1, "/a*"),
            field(2, "/b/"),
            field(4, -1),
            field(5, 1),
            field(6, 1),
            field(8, 1),
            field(9, 1),
            field(10, 1),
            field(11, -1),
        )
    )
    actions = (
        field(1, NONE) + field(3, NONE) + field(6, mkdir),
        field(1, 1) + field(3, NONE) + field(5, mkfile),
        field(1, 2) + field(2, 0) + field(4, copy),
    )
    body = b"".join(field(2, each) for each in actions)
    step = graph.op(FILE, body, (source, 0))

    found = lower(graph, step)

    assert found.op == FileOp(
        actions=(
            MkdirAction(path="/d", mode=0o700, owner="5:staff"),
            MkfileAction(
                path="/d/f",
                name="f",
                data="\udcff",
                mode="640",
                created=1_700_000_000,
                is_exact=True,
            ),
            CopyAction(input=1, sources=("/a*",), destination="/b/", keep_owner=True),
        )
    )
    assert [type(each.op) for each in found.inputs] == [ScratchOp, ImageOp]
    assert found.name == "mkdir /d, mkfile /d/f, copy /a* /b/"


def test_actions_that_use_one_another() -> None:
    graph = Graph()
    base = graph.source("docker-image://base")
    copy = field(1, "a") + field(2, "b") + field(4, -1) + field(8, 1) + field(11, -1)
    more = field(12, "*.go") + field(13, "x") + field(14, 1) + field(16, "/y.go")
    body = b"".join(
        (
            action(6, field(1, "made") + field(2, 0o755) + field(5, -1), NONE, NONE),
            action(7, field(1, "/old*") + field(2, 1) + field(3, 1), 0, NONE),
            action(8, field(1, "there") + field(2, "here") + field(4, -1), 2, 1),
            action(4, copy + more, 3, 0, 1),
        )
    )
    step = graph.op(FILE, body, (base, 0))

    found, other = lower(graph, step), lower(graph, step, 1)

    changed = (
        RmAction(path="/old*", may_be_missing=True, has_patterns=True),
        SymlinkAction(path="/here", target="there"),
    )
    assert isinstance(found.op, FileOp)
    assert found.op.actions == (
        *changed,
        CopyAction(
            input=1,
            sources=("a",),
            destination="/b",
            keep_owner=True,
            manner=Manner(),
            include=("*.go",),
            exclude=("x",),
            required=("/y.go",),
            replaces=True,
        ),
    )
    assert isinstance(other.op, FileOp)
    assert other.op.actions == changed
    image, copied = found.inputs
    assert isinstance(image.op, ImageOp)
    assert copied.op == FileOp(
        actions=(MkdirAction(path="/made", mode=0o755, makes_parents=False),)
    )


def test_mounts_that_others_use() -> None:
    graph = Graph()
    base, local = graph.source("docker-image://base"), graph.source("local://src")
    body = b"".join(
        (
            meta("x", more=field(12, bytes((0, 3)))),
            mount("/", 0, f4=0),
            mount("/src", 1, f4=1),
            mount("/out", NONE, f4=2),
        )
    )
    step = graph.op(EXEC, body, (base, 0), (local, 0))
    ends = field(1, field(1, 0)) + field(2, field(1, 1))
    compared = graph.op(DIFF, ends, (step, 0), (step, 2))

    found = lower(graph, compared)

    assert found.op == DiffOp()
    root, picked = found.inputs
    assert picked.op == OutputOp(number=1)
    assert picked.inputs == (root,)
    assert isinstance(root.op, ExecOp)
    assert (root.op.exit_codes, root.op.outputs) == ((0, 3), 1)
    assert root.op.mounts == (
        BindMount(target="/src", input=1, read_only=False),
        BindMount(target="/out", input=2, read_only=False, output=1),
    )
    # What is written to has layers of its own.
    assert [type(each.op) for each in root.inputs] == [ImageOp, FileOp, ScratchOp]


def test_what_is_passed_on() -> None:
    graph = Graph()
    base, other = graph.source("docker-image://base"), graph.source("docker-image://other")
    step = graph.op(PASSTHROUGH, field(1, "x") + field(2, bytes((1, 0))), (base, 0), (other, 0))

    first, second = lower(graph, step), lower(graph, step, 1)

    assert isinstance(first.op, ImageOp)
    assert isinstance(second.op, ImageOp)
    assert first.op.reference.endswith("/other:latest")
    assert second.op.reference.endswith("/base:latest")


def test_what_is_not_passed_on_is_built_beside() -> None:
    graph = Graph()
    base, other = graph.source("docker-image://base"), graph.source("docker-image://other")
    step = graph.op(PASSTHROUGH, field(1, "x") + field(2, b"\x00"), (base, 0), (other, 0))

    made = lowering(graph.definition((step, 0)))
    made.lower()

    (beside,) = made.required
    assert isinstance(beside.op, ImageOp)
    assert beside.op.reference.endswith("/other:latest")


def test_the_time_of_a_copy_is_that_of_all_that_is_copied() -> None:
    graph = Graph()
    base = graph.source("docker-image://base")
    usual = field(1, "/a") + field(2, "/b") + field(4, -1) + field(5, 1) + field(6, 1) + field(9, 1)
    found = [
        lower(
            graph, graph.op(FILE, action(4, usual + field(11, time), 0, 0, 1), (base, 0), (base, 0))
        )
        for time in (-1, 7_000_000_000)
    ]

    now, then = (each.op.actions[0] for each in found if isinstance(each.op, FileOp))
    assert isinstance(now, CopyAction)
    assert isinstance(then, CopyAction)
    assert now.manner is None
    assert then.manner is not None
    assert then.manner.dates
    assert then.created == 7


def test_other_sources_and_merges() -> None:
    graph = Graph()
    parts = [
        graph.source("https://x.test/file.txt", attributes={"http.checksum": "sha256:aa"}),
        graph.source(
            "git://x.test/r.git#main:sub",
            attributes={"git.fullurl": "https://x.test/r.git", "git.keepgitdir": "true"},
        ),
        graph.source("oci-layout://a@sha256:00", attributes={"oci.store": "st"}),
    ]
    body = b"".join(field(1, field(1, number)) or b"\x0a\x00" for number in range(3))
    merged = graph.op(MERGE, body, *((each, 0) for each in parts))

    found = lower(graph, merged)

    assert isinstance(found.op, MergeOp)
    copies, image = found.inputs[:2], found.inputs[2]
    file, repository = (each.inputs[1].op for each in copies)
    assert file == HttpOp(url="https://x.test/file.txt", filename="file.txt", checksum="sha256:aa")
    assert isinstance(repository, GitOp)
    assert (repository.remote, repository.ref, repository.subdir, repository.keep_git_dir) == (
        "https://x.test/r.git",
        "main",
        "sub",
        True,
    )
    assert isinstance(image.op, ImageOp)
    assert image.op.reference == "oci-layout:///here/st"


def test_nothing_is_an_empty_tree() -> None:
    assert isinstance(lowering(b"").lower().op, ScratchOp)
    assert read_definition(b"").wanted is None


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (BUILD, b"", "ops of the kind build aren't supported yet"),
        (SOURCE, field(1, "other://x"), "sources like other://x aren't supported yet"),
        (EXEC, meta("x"), "an exec op has no root mount"),
        (EXEC, meta("x") + mount("/", f4=1), "an exec op has no output 0"),
        (EXEC, meta("x") + mount("/", f4=0) + field(3, 1), "network.host is not allowed"),
        (EXEC, meta("x") + mount("/", f4=0) + field(4, 1), "security.insecure is not allowed"),
        (FILE, b"", "a file op has no output 0"),
        (FILE, field(2, field(1, NONE) + field(9, b"x")), "an action that isn't known here"),
        (FILE, field(2, field(1, NONE) + field(3, NONE) + field(6, b"x")), "has no output 0"),
        (FILE, field(2, field(1, 0) + field(6, b"x")), "goes on a later one"),
        (PASSTHROUGH, b"", "a passthrough op has no output 0"),
    ],
)
def test_what_can_not_be_done_is_said(kind: int, body: bytes, message: str) -> None:
    graph = Graph()

    with pytest.raises((InputError, IntegrityError), match=message):
        lower(graph, graph.op(kind, body))


def test_what_is_allowed_is_done() -> None:
    graph = Graph()
    step = graph.op(EXEC, meta("x") + mount("/", f4=0) + field(3, 1))

    found = lower(graph, step, 0, "network.host").op

    assert isinstance(found, ExecOp)
    assert (found.network, found.platform) == ("host", host())


def test_an_input_that_is_not_there() -> None:
    data = field(1, field(1, field(1, sha256(b"x"))) + field(SOURCE, field(1, "local://x")))

    with pytest.raises(IntegrityError, match="missing input"):
        read_definition(data)


def test_targets_are_relative_to_the_working_directory() -> None:
    graph = Graph()
    step = graph.op(EXEC, meta("x") + mount("/", f4=0) + mount("data", f4=1, f6=4))

    found = lower(graph, step).op

    assert isinstance(found, ExecOp)
    assert found.mounts == (TmpfsMount(target="/w/data"),)


def test_what_a_web_server_is_told_and_the_file_is_to_be() -> None:
    graph = Graph()
    attributes = {
        "http.header.accept": "text/plain",
        "http.header.x-other": "x",
        "http.authheadersecret": "token",
        "http.perm": "0640",
        "http.gid": "5",
    }
    file = graph.source("https://x.test/dir/file", attributes=attributes)

    found = lower(graph, file)

    assert found.op == FileOp(
        actions=(
            CopyAction(
                input=1,
                sources=("file",),
                destination="/file",
                owner="0:5",
                mode="640",
                is_literal=True,
            ),
        )
    )
    assert found.inputs[1].op == HttpOp(
        url="https://x.test/dir/file",
        filename="file",
        headers=(("Accept", "text/plain"),),
        auth_secret="token",
    )
    signed = graph.source("https://x.test/s", attributes={"http.sig.pubkey": "k"})
    with pytest.raises(InputError, match="signatures"):
        lower(graph, signed)


def test_results_of_others_are_sources() -> None:
    graph = Graph()

    found = lower(graph, graph.source("polyarch-result://ref-7"))

    assert isinstance(found.op, ImageOp)
    assert found.op.reference == "oci-layout:///results/ref-7"


def test_places_in_the_text_that_a_graph_was_made_from() -> None:
    graph = Graph()
    step = graph.op(EXEC, meta("x") + mount("/", f4=0))
    line = field(1, field(1, 2)) + field(2, field(1, 3))
    places = field(1, field(2, line))
    source = field(1, field(1, step) + field(2, places)) + field(
        2, field(1, "build.hlb") + field(2, b"1\n2\n3\n")
    )

    found = lowering(graph.definition((step, 0)) + field(3, source)).lower()

    assert found.location is not None
    assert (found.location.source.name, found.location.start, found.location.end) == (
        "build.hlb",
        2,
        3,
    )


def test_a_file_is_what_the_client_was_told_of() -> None:
    graph, url = Graph(), "https://x.test/f"
    data = graph.definition((graph.source(url), 0))

    pinned = replace(lowering(data), pins={url: sha256(b"told")}).lower()

    (file,) = (each.op for each in walk((pinned,)) if isinstance(each.op, HttpOp))
    assert file.checksum == sha256(b"told")


@pytest.mark.parametrize("limit", ["0", "-1"])
def test_an_image_has_some_layers(limit: str) -> None:
    graph = Graph()
    image = graph.source("docker-image://base", attributes={"image.layerlimit": limit})

    with pytest.raises(InputError, match="invalid layer limit"):
        lower(graph, image)


def test_an_image_that_has_to_be_what_was_said() -> None:
    graph, name = Graph(), "docker.io/library/base:latest"
    right = {"image.checksum": sha256(name.encode()), "image.layerlimit": "1"}
    base = graph.source(f"docker-image://{name}", attributes=right)
    other = graph.source(f"docker-image://{name}", attributes={"image.checksum": sha256(b"other")})

    found = lower(graph, base).op

    assert isinstance(found, ImageOp)
    assert len(found.diff_ids) == 1
    with pytest.raises(
        IntegrityError, match=r"for docker\.io/library/base:latest does not match expected checksum"
    ):
        lower(graph, other)
