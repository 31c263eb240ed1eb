"""kaniko's flags -> a build."""

from __future__ import annotations

import io

import pytest

from polyarch.cli.building.table import BUILD_FLAGS
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import parse_flags
from polyarch.cli.standins.called import Called
from polyarch.cli.standins.kaniko import kaniko_call
from polyarch.errors import InputError

CACHED = "--cache-to=type=registry,ref=r.example/a/cache,mode=max,ignore-error=true"
PUSHED = "--tag=r.example/a --output=type=image,push=true"


def called(line: str, **environ: str) -> Called:
    silent = io.StringIO()
    context = Context(
        program="executor", environ=environ, stdin=silent, stdout=silent, stderr=silent
    )
    found = kaniko_call(line.split(), context)
    parse_flags(BUILD_FLAGS, found.words)
    return found


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-d r.example/a", f"{PUSHED} /workspace"),
        ("-d r.example/a -c /src --target t", f"--target=t {PUSHED} /src"),
        ("-d r.example/a --context dir:///src --context-sub-path sub", f"{PUSHED} /src/sub"),
        ("-d r.example/a --context tar:///a.tar.gz", f"{PUSHED} /a.tar.gz"),
        (
            "-d r.example/a --context git://github.com/you/app.git#refs/heads/main --context-sub-path x",
            f"{PUSHED} https://github.com/you/app.git#main:x",
        ),
        ("-d r.example/a --custom-platform linux/arm64", f"--platform=linux/arm64 {PUSHED} /workspace"),
        (
            "-d r.example/a --build-arg A=1 --build-arg B --label l=m --reproducible",
            f"--build-arg=A=1 --build-arg=B --label=l=m --build-arg=SOURCE_DATE_EPOCH=0 {PUSHED} /workspace",
        ),
        (
            "-d r.example/a --compression zstd --compression-level 5",
            f"{PUSHED},compression=zstd,compression-level=5 /workspace",
        ),
        ("--no-push", "--output=type=image /workspace"),
        ("--no-push --tar-path /o.tar -d r.example/a", "--tag=r.example/a --output=type=docker,dest=/o.tar /workspace"),
        ("--no-push --oci-layout-path /o", "--output=type=oci,tar=false,dest=/o /workspace"),
        (
            "-d r.example/a --cache",
            f"{PUSHED} --cache-from=type=registry,ref=r.example/a/cache {CACHED} /workspace",
        ),
        (
            "-d r.example/a --cache --cache-repo r.example/c --no-push-cache",
            f"{PUSHED} --cache-from=type=registry,ref=r.example/c /workspace",
        ),
    ],
)  # fmt: skip
def test_flags(line: str, words: str) -> None:
    assert called(line).words == ["--progress=plain", *words.split()]


def test_what_git_needs_comes_from_variables() -> None:
    found = called(
        "-d r.example/a --context git://g.example/a.git", GIT_TOKEN="t", GIT_USERNAME="u"
    )

    assert found.words[-1] == "https://u:t@g.example/a.git#"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--context /x", "You must provide --destination, or use --no-push"),
        ("-d a --context gs://bucket/x", "contexts of gs:// aren't supported"),
        ("-d a --ignore-path /x", "--ignore-path isn't supported"),
        ("-d a warm", "unknown command 'warm'"),
        ("-d a --no-such-flag", "unknown flag: --no-such-flag"),
        ("-d A", "must be lowercase"),
    ],
)
def test_what_is_refused(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        called(line)
