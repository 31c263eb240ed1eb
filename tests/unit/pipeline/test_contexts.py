"""What a build reads: which Dockerfile, which ignore file, which contexts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from polyarch.errors import InputError, NotFound
from polyarch.graph.location import SourceText
from polyarch.pipeline.contexts import MAX_DOCKERFILE, Contexts, Loader
from polyarch.pipeline.directories import Directories
from polyarch.pipeline.fetched import Fetcher
from polyarch.request.values import BuildRequest
from polyarch.store.store import Store
from tests.support.images.trees import plant


def request(context: object, dockerfile: object = "", **more: object) -> BuildRequest:
    return BuildRequest(
        context=str(context),
        dockerfile=str(dockerfile),
        **more,  # type: ignore[arg-type]
    )


def unfetched() -> Fetcher:
    raise AssertionError("nothing here is to be fetched")


def loader(store: Store, request: BuildRequest) -> Loader:
    return Loader(
        request=request,
        directories=Directories(store.stat_index),
        empty=store.scratch,
        fetcher=unfetched,
    )


def read_dockerfile(request: BuildRequest) -> SourceText:
    with TemporaryDirectory() as directory, Store(Path(directory) / "store") as store:
        loading = loader(store, request)
        return loading.dockerfile(loading.main())


# Dockerfiles


def test_the_dockerfile_of_the_context(tmp_path: Path) -> None:
    plant(tmp_path, {"Dockerfile": "FROM a", "dockerfile": "FROM b", "other": "FROM c"})

    found = [
        read_dockerfile(request(tmp_path)),
        read_dockerfile(request(tmp_path, tmp_path / "other")),
    ]

    assert [(each.name, each.text) for each in found] == [
        ("Dockerfile", "FROM a"),
        ("other", "FROM c"),
    ]


def test_a_dockerfile_in_lower_case(tmp_path: Path) -> None:
    plant(tmp_path, {"dockerfile": "FROM b"})

    assert read_dockerfile(request(tmp_path)).text == "FROM b"


@pytest.mark.parametrize(("context", "dockerfile"), [("-", ""), (".", "-"), ("-", "-")])
def test_a_dockerfile_on_standard_input(context: str, dockerfile: str) -> None:
    found = read_dockerfile(request(context, dockerfile, stdin=b"FROM a"))

    assert (found.name, found.text) == ("Dockerfile", "FROM a")


def test_a_dockerfile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        read_dockerfile(request(tmp_path))

    assert str(caught.value) == (
        "failed to read dockerfile: open Dockerfile: no such file or directory"
    )
    assert str(tmp_path / "Dockerfile") in caught.value.hint


def test_a_directory_is_no_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").mkdir()

    with pytest.raises(NotFound, match=r"is a directory$"):
        read_dockerfile(request(tmp_path))


def test_what_is_too_large_is_no_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_bytes(b"#" * MAX_DOCKERFILE)
    assert len(read_dockerfile(request(tmp_path)).text) == MAX_DOCKERFILE
    (tmp_path / "Dockerfile").write_bytes(b"#" * (MAX_DOCKERFILE + 1))

    with pytest.raises(InputError, match=r"is larger than 2 MiB: that is no Dockerfile$"):
        read_dockerfile(request(tmp_path))


def test_standard_input_can_not_be_both() -> None:
    with pytest.raises(InputError, match=r"^ambiguous Dockerfile source: both stdin and flag"):
        read_dockerfile(request("-", "other", stdin=b"FROM a"))


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/a.git",
        "git@github.com:a/b.git",
        "github.com/a/b",
        "ssh://git@host/a",
        "git://host/a",
    ],
)
def test_remote_contexts_are_fetched(address: str) -> None:
    with pytest.raises(AssertionError, match="nothing here is to be fetched"):
        read_dockerfile(request(address))


@pytest.mark.parametrize(("name", "problem"), [("none", "not found"), ("file", "is no directory")])
def test_contexts_that_are_no_directories(tmp_path: Path, name: str, problem: str) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NotFound) as caught:
        read_dockerfile(request(tmp_path / name))

    assert str(caught.value) == f'unable to prepare context: path "{tmp_path}/{name}" {problem}'


# Contexts


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as opened:
        yield opened


def load(store: Store, request: BuildRequest) -> Contexts:
    loading = loader(store, request)
    return loading.contexts(loading.main())


def names(contexts: Contexts, name: str = "context") -> list[str]:
    tree = contexts.trees[name]
    return sorted(entry.name for entry in tree.entries(str(tree.root)))


def test_the_ignore_file_of_the_context(store: Store, tmp_path: Path) -> None:
    context = plant(tmp_path / "c", {".dockerignore": "*.o\n!b.o", "a.o": "", "b.o": "", "c": ""})

    assert names(load(store, request(context))) == [".dockerignore", "b.o", "c"]


def test_the_ignore_file_of_the_dockerfile_goes_first(store: Store, tmp_path: Path) -> None:
    context = plant(
        tmp_path / "c",
        {".dockerignore": "a", "a": "", "b": "", "x/Dev": "", "x/Dev.dockerignore": "b\nx"},
    )

    found = names(load(store, request(context, context / "x/Dev")))

    assert found == [".dockerignore", "a"]


def test_a_dockerfile_on_standard_input_has_no_ignore_file(store: Store, tmp_path: Path) -> None:
    context = plant(tmp_path / "c", {"-.dockerignore": "a", ".dockerignore": "b", "a": "", "b": ""})

    assert "b" not in names(load(store, request(context, "-", stdin=b"FROM a")))
    assert "a" in names(load(store, request(context, "-", stdin=b"FROM a")))


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_an_ignore_file_that_says_nothing(store: Store, tmp_path: Path, text: str) -> None:
    context = plant(tmp_path / "c", {".dockerignore": text, "a": ""})

    assert names(load(store, request(context))) == [".dockerignore", "a"]


def test_an_ignore_file_that_cannot_be_understood(store: Store, tmp_path: Path) -> None:
    context = plant(tmp_path / "c", {".dockerignore": "a\n!", "a": ""})

    with pytest.raises(InputError, match=r"^invalid excludepatterns: \[a !\]: illegal exclusion"):
        load(store, request(context))


def test_a_context_on_standard_input_is_empty(store: Store) -> None:
    assert names(load(store, request("-", stdin=b"FROM a"))) == []


def test_named_contexts_that_are_directories(store: Store, tmp_path: Path) -> None:
    plant(tmp_path, {"c/a": "", "more/b": "", "more/.dockerignore": "skipped", "more/skipped": ""})
    contexts = {
        "more": str(tmp_path / "more"),
        "alpine": "docker-image://alpine:3",
    }

    found = load(store, request(tmp_path / "c", build_contexts=contexts))

    assert sorted(found.trees) == ["context", "more"]
    assert names(found, "more") == [".dockerignore", "b"]


def test_a_named_context_that_is_not_there(store: Store, tmp_path: Path) -> None:
    contexts = {"more": str(tmp_path / "none")}

    with pytest.raises(
        NotFound,
        match=r"^failed to get build context more: stat .*/none: no such file or directory$",
    ):
        load(store, request(tmp_path, build_contexts=contexts))


def test_digests_are_those_of_the_content(store: Store, tmp_path: Path) -> None:
    context = plant(tmp_path / "c", {"a": "text"})
    path = context / "a"
    found = []
    for text in ("text", "more", "text"):
        path.write_text(text)
        loading = loader(store, request(context))
        contexts = loading.contexts(loading.main())
        found.append(contexts.trees["context"].file_digest(str(path), path.lstat()))
        loading.directories.save()

    assert found == [hashlib.sha256(text).digest() for text in (b"text", b"more", b"text")]
