"""The Dockerfile and the contexts of a request, wherever they are."""

import io
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyarch.errors import InputError, NotFound
from polyarch.graph.op import HttpOp
from polyarch.pipeline.contexts import Contexts, Loader
from polyarch.pipeline.directories import Directories
from polyarch.pipeline.fetched import Fetcher
from polyarch.progress import CancelToken, ignore_events
from polyarch.request.values import BuildRequest
from polyarch.store.store import Store
from polyarch.worker.remote import remote_sources
from polyarch.worker.secrets import Secrets
from polyarch.worker.tree import SourceTree
from tests.support.network.web import Page, WebServer, web_server

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DATE = {"Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture
def web() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


def load(
    store: Store, use: Callable[[Contexts], None] = lambda _: None, /, **fields: object
) -> tuple[str, Contexts]:
    """Return the Dockerfile's text and the contexts, after `use` had them."""
    with remote_sources(store, Secrets(), {}) as remote:
        fetcher = Fetcher(
            remote=remote,
            directory=lambda: store.temporary("context"),
            sink=ignore_events,
            cancel=CancelToken(),
        )
        loader = Loader(
            request=BuildRequest(**fields),  # type: ignore[arg-type]
            directories=Directories(store.stat_index),
            empty=store.scratch,
            fetcher=lambda: fetcher,
        )
        main = loader.main()
        contexts = loader.contexts(main)
        use(contexts)
        return loader.dockerfile(main).text, contexts


def archive(kind: str, **files: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.mtime = len(text), 7, 5
            tar.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def without_magic(data: bytes) -> bytes:
    """Make of an archive one as Unix had it first: no field says what it is."""
    changed = bytearray(data)
    for start in range(0, len(data), 512):
        if data[start + 257 : start + 262] == b"ustar":
            changed[start + 257 : start + 512] = bytes(255)
            block = changed[start : start + 148] + b" " * 8 + changed[start + 156 : start + 512]
            changed[start + 148 : start + 156] = b"%06o\0 " % sum(block)
    return bytes(changed)


def names(contexts: Contexts, name: str = "context") -> list[str]:
    tree = contexts.trees[name]
    return [entry.name for entry in tree.entries(str(tree.root))]


def test_a_directory(store: Store, tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "dockerfile").write_text("FROM a")
    (directory / ".dockerignore").write_text("hidden")
    (directory / "hidden").write_text("")

    text, contexts = load(store, context=str(directory))

    assert text == "FROM a"
    assert names(contexts) == [".dockerignore", "dockerfile"]
    assert contexts.date("context") is None


def test_a_dockerfile_on_standard_input(store: Store) -> None:
    text, _ = load(store, context="-", stdin=b"FROM a")

    assert text == "FROM a"


@pytest.mark.parametrize("kind", ["", "gz", "bz2", "xz", "zst", "v7"])
def test_an_archive_on_standard_input(store: Store, kind: str) -> None:
    data = archive(kind if kind in {"gz", "bz2", "xz"} else "",
                   Dockerfile="FROM a", other="FROM b", file="")  # fmt: skip
    if kind == "zst":
        data = zstd.compress(data)
    elif kind == "v7":
        data = without_magic(data)

    text, contexts = load(store, context="-", stdin=data, dockerfile="other")

    assert text == "FROM b"
    assert names(contexts) == ["Dockerfile", "file", "other"]
    tree = contexts.trees["context"]
    assert tree.owner(str(tree.root / "file"), (tree.root / "file").stat())[0] == 7


def test_a_dockerfile_of_a_web_server(store: Store, web: WebServer) -> None:
    web.pages["/df"] = Page(b"FROM a", DATE)

    text, contexts = load(store, context=f"{web.address}/df", dockerfile="ignored")

    assert text == "FROM a"
    assert names(contexts) == ["context"]
    assert contexts.date("context") == 1_700_000_000


def test_an_archive_of_a_web_server(store: Store, web: WebServer) -> None:
    web.pages["/x"] = Page(archive("gz", Dockerfile="FROM a", file=""))

    text, contexts = load(store, context=f"{web.address}/x")

    assert text == "FROM a"
    assert names(contexts) == ["Dockerfile", "file"]
    assert contexts.date("context") == 5


def test_a_dockerfile_elsewhere(store: Store, web: WebServer, tmp_path: Path) -> None:
    web.pages["/df"] = Page(b"FROM a")

    text, contexts = load(
        store,
        context=str(tmp_path),
        dockerfile=f"{web.address}/df",
        build_contexts={"more": f"{web.address}/df", "image": "docker-image://busybox"},
    )

    assert text == "FROM a"
    assert sorted(contexts.trees) == ["context", "more"]


def test_a_named_context_is_fetched_once_when_it_is_used(store: Store, web: WebServer) -> None:
    web.pages["/file"] = Page(b"content", DATE)
    contexts = {"used": f"{web.address}/file", "unused": "https://nowhere.invalid/"}

    trees: list[SourceTree] = []

    def use(found: Contexts) -> None:
        assert sorted(found.trees) == ["context", "unused", "used"]
        assert not web.asked
        trees.extend(found.trees["used"] for _ in range(2))
        assert found.date("used") == 1_700_000_000

    load(store, use, context="-", stdin=b"FROM a", build_contexts=contexts)

    assert (trees[0].root / "context").read_bytes() == b"content"
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("page", "date"),
    [
        (Page(b"content", DATE), 1_700_000_000),
        (Page(archive("gz", file="")), 5),
        (Page(b"content"), None),
    ],
)
def test_dates_of_files(store: Store, web: WebServer, page: Page, date: int | None) -> None:
    web.pages["/x"] = page
    with remote_sources(store, Secrets(), {}) as remote:
        fetcher = Fetcher(
            remote=remote, directory=store.temporary, sink=ignore_events, cancel=CancelToken()
        )

        assert fetcher.date(HttpOp(url=f"{web.address}/x", filename="x")) == date


def test_what_cannot_be_read(store: Store, web: WebServer, tmp_path: Path) -> None:
    data = archive("", file="")

    with pytest.raises(NotFound, match="failed to read dockerfile: open Dockerfile"):
        load(store, context=str(tmp_path))
    with pytest.raises(NotFound, match="failed to read dockerfile: open mine"):
        load(store, context="-", stdin=data, dockerfile="mine")
    with pytest.raises(NotFound, match='unable to prepare context: path "nowhere" not found'):
        load(store, context="nowhere")
    with pytest.raises(InputError, match="ambiguous Dockerfile source"):
        load(store, context="-", stdin=b"FROM a", dockerfile="mine")
    with pytest.raises(LookupError):
        load(store, context="-", stdin=b"FROM a")[1].date("other")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("target:base", "names a target of a bake file"),
        ("ftp://h/x", "failed to get build context a: stat ftp://h/x: no such file or directory"),
        ("", "failed to get build context a: stat : no such file or directory"),
        ("nowhere", "failed to get build context a: stat nowhere: no such file or directory"),
        ("oci-layout://nowhere", "the directory nowhere was not found"),
    ],
)
def test_named_contexts_that_are_refused(store: Store, value: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        load(store, context="-", stdin=b"FROM a", build_contexts={"a": value})


def test_an_archive_stays_an_archive_as_named_context(store: Store, web: WebServer) -> None:
    data = archive("gz", file="")
    web.pages["/x"] = Page(data)
    found: list[bytes] = []

    def use(contexts: Contexts) -> None:
        root = contexts.trees["a"].root
        found.append((root / "context").read_bytes())
        assert contexts.date("a") == 5

    load(store, use, context="-", stdin=b"FROM a", build_contexts={"a": f"{web.address}/x"})

    assert found == [data]


def test_named_contexts_for_one_platform_and_all(store: Store, tmp_path: Path) -> None:
    for name in ("one", "all"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("")
    given = {"a": str(tmp_path / "all"), "a::linux/arm64": str(tmp_path / "one")}

    _, contexts = load(store, context="-", stdin=b"FROM a", build_contexts=given)

    assert names(contexts, "a") == ["all"]
    assert names(contexts, "a::linux/arm64") == ["one"]


def test_a_dockerfile_of_this_machine_beside_a_context_elsewhere(
    store: Store, web: WebServer, tmp_path: Path
) -> None:
    web.pages["/x"] = Page(archive("", Dockerfile="FROM there"))
    (tmp_path / "mine").write_text("FROM here")

    text, _ = load(store, context=f"{web.address}/x", dockerfile=str(tmp_path / "mine"))

    assert text == "FROM here"


def test_a_dockerfile_written_small_in_a_directory_that_is_named(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "dockerfile").write_text("FROM small")

    text, _ = load(store, context=str(tmp_path), dockerfile=str(tmp_path / "Dockerfile"))

    assert text == "FROM small"
