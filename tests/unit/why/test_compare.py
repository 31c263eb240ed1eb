"""How two forms of a step differ, in words."""

from __future__ import annotations

from polyarch.digest import Digest
from polyarch.graph.graph import Graph
from polyarch.graph.op import (
    BindMount,
    CopyAction,
    ExecMount,
    ExecOp,
    FileOp,
    MkdirAction,
    MkfileAction,
    Op,
    ScratchOp,
    SecretMount,
)
from polyarch.graph.vertex import StepNote, make_vertex
from polyarch.platforms import parse
from polyarch.record import replace
from polyarch.request.explanation import Cause, CauseKind
from polyarch.solver.facts import Facts
from polyarch.solver.key import InputPart
from polyarch.why.compare import op_differences
from polyarch.why.trace import Trace, find_slots, make_trace

RUN = ExecOp(
    argv=("/bin/sh", "-c", "make"),
    env=("PATH=/bin", "VERSION=1"),
    cwd="/",
    user="",
    platform=parse("linux/amd64"),
)
COPY = FileOp(actions=(CopyAction(input=0, sources=("a",), destination="/b"),))


def trace(op: Op, text: str = "RUN make", platform: str = "linux/amd64", *arguments: str) -> Trace:
    note = StepNote(stage="0", number=2, text=text, arguments=arguments)
    vertex = make_vertex(
        op, (make_vertex(ScratchOp()),), name=text, platform_name=platform, note=note
    )
    facts = Facts(vertex=vertex, identity="", inputs=(InputPart(identity="scratch"),), keys=())
    slot = find_slots(Graph(targets=(vertex,)))[vertex.digest]
    return make_trace(facts, slot, {})


def found(old: Op, new: Op) -> list[Cause]:
    return list(op_differences(trace(old), trace(new)))


def with_mount(mount: ExecMount) -> ExecOp:
    return replace(RUN, mounts=(mount,))


def test_equal_steps_do_not_differ() -> None:
    assert found(RUN, RUN) == []


def test_another_command_is_another_instruction() -> None:
    old, new = trace(RUN, "RUN make"), trace(replace(RUN, argv=("/bin/sh", "-c", "b")), "RUN b")

    assert list(op_differences(old, new)) == [
        Cause(kind=CauseKind.INSTRUCTION, old="RUN make", new="RUN b")
    ]


def test_another_shell_is_told_though_the_text_is_the_same() -> None:
    (cause,) = found(RUN, replace(RUN, argv=("/bin/bash", "-c", "make")))

    assert cause.text() == "the command differs: /bin/sh -c make → /bin/bash -c make"


def test_a_build_argument_is_named_with_old_and_new() -> None:
    old = trace(RUN, "RUN make", "linux/amd64", "VERSION")
    new = trace(replace(RUN, env=("PATH=/bin", "VERSION=2")), "RUN make", "linux/amd64", "VERSION")

    (cause,) = op_differences(old, new)

    assert cause.text() == "the build argument VERSION differs: 1 → 2"


def test_a_variable_that_is_new_was_unset() -> None:
    (cause,) = found(RUN, replace(RUN, env=(*RUN.env, "MODE=a")))

    assert cause.text() == "the variable MODE differs: (unset) → a"


def test_an_empty_variable_is_not_an_unset_one() -> None:
    (cause,) = found(RUN, replace(RUN, env=("PATH=/bin", "VERSION=")))

    assert cause.text() == 'the variable VERSION differs: 1 → ""'


def test_proxies_are_no_difference() -> None:
    assert found(RUN, replace(RUN, proxy_env=("HTTP_PROXY=http://a",))) == []


def test_addresses_of_hosts_are_no_difference() -> None:
    one, other = (replace(RUN, extra_hosts=(("db", each),)) for each in ("10.0.0.1", "10.0.0.2"))

    assert found(one, other) == []


def test_a_login_in_a_declared_proxy_is_not_kept() -> None:
    kept = trace(replace(RUN, env=("HTTP_PROXY=http://me:hidden@proxy:80",))).to_json()

    assert "hidden" not in kept
    assert "http://proxy:80" in kept


def test_the_network_is_told() -> None:
    (cause,) = found(RUN, replace(RUN, network="none"))

    assert cause.text() == "the network differs: default → none"


def test_a_user_is_told() -> None:
    (cause,) = found(RUN, replace(RUN, user="app"))

    assert cause.text() == "the user differs: (unset) → app"


def test_a_mount_that_is_new_is_told() -> None:
    (cause,) = found(RUN, with_mount(BindMount(target="/src", input=1)))

    assert cause.text() == "the mount at /src differs: (unset) → type=bind,read_only=true"


def test_a_secret_is_told_by_its_id_alone() -> None:
    (cause,) = found(
        with_mount(SecretMount(id="a", target="/run/secrets/a")),
        with_mount(SecretMount(id="b", target="/run/secrets/a")),
    )

    assert cause.kind == "mount"
    assert ("id=a" in cause.old, "id=b" in cause.new) == (True, True)


def test_a_platform_comes_first() -> None:
    old, new = (
        trace(RUN),
        trace(replace(RUN, platform=parse("linux/arm64")), "RUN make", "linux/arm64"),
    )

    assert list(op_differences(old, new)) == [
        Cause(kind=CauseKind.PLATFORM, old="linux/amd64", new="linux/arm64")
    ]


def test_an_owner_of_a_copy_is_told_if_the_text_is_the_same() -> None:
    (cause,) = found(COPY, FileOp(actions=(replace(COPY.actions[0], owner="1:1"),)))

    assert cause.text() == "the owner differs: (unset) → 1:1"


def test_a_mode_is_octal() -> None:
    one, other = (FileOp(actions=(MkdirAction(path="/a", mode=mode),)) for mode in (0o755, 0o700))

    (cause,) = found(one, other)

    assert cause.text() == "the mode differs: 0755 → 0700"


def test_a_here_document_is_told() -> None:
    one, other = (
        FileOp(actions=(MkfileAction(path="/a", name="EOF", data=data),)) for data in ("1", "2")
    )

    (cause,) = found(one, other)

    assert cause.text() == "the here-document differs: 1 → 2"


def test_long_texts_are_cut_and_still_differ() -> None:
    one, other = (
        FileOp(actions=(MkfileAction(path="/a", name="EOF", data="x" * 5000 + end),))
        for end in ("1", "2")
    )

    assert len(trace(one).to_json()) < 2000
    assert [cause.what for cause in found(one, other)] == ["here-document"]


def test_a_trace_is_read_as_it_was_written() -> None:
    made = trace(with_mount(BindMount(target="/src", input=1)), "RUN make", "linux/amd64", "A")

    assert Trace.from_json(made.slot, Digest(made.op), made.to_json()) == made
