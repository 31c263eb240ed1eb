import pytest

from polyarch.errors import InputError
from polyarch.text.giturl import parse_git_reference, parse_git_url, with_fragment

COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("text", "remote", "ref", "subdir"),
    [
        ("https://host/me/it.git", "https://host/me/it.git", "", ""),
        ("https://host/me/it.git#topic:a/b", "https://host/me/it.git", "topic", "a/b"),
        ("https://host/me/it.git#:../a", "https://host/me/it.git", "", "a"),
        ("https://host/it.git?ref=x&subdir=y", "https://host/it.git", "x", "y"),
        ("https://host/it.git?branch=x", "https://host/it.git", "refs/heads/x", ""),
        ("https://host/it.git?tag=x#refs/tags/x", "https://host/it.git", "refs/tags/x", ""),
        ("me@host:it#x", "me@host:it", "x", ""),
        ("ssh://me@host:2/it?ref=x", "ssh://me@host:2/it", "x", ""),
        ("GIT://host/it", "git://host/it", "", ""),
        ("github.com/me/it#x", "github.com/me/it", "x", ""),
    ],
)
def test_references(text: str, remote: str, ref: str, subdir: str) -> None:
    found = parse_git_reference(text)

    assert found is not None
    assert (found.remote, found.ref, found.subdir) == (remote, ref, subdir)


@pytest.mark.parametrize(
    "text",
    ["", "directory", "./it.git", "../it.git", "/it.git", "https://host/it.tar", "ftp://h/it.git"],
)
def test_what_is_no_repository(text: str) -> None:
    assert parse_git_reference(text) is None


def test_every_setting_of_a_query() -> None:
    found = parse_git_reference(
        f"https://host/it.git?checksum={COMMIT}&keep-git-dir&submodules=0&mtime=commit&fetch-by-commit=t"
    )

    assert found is not None
    assert (found.checksum, found.keep_git_dir, found.submodules) == (COMMIT, True, False)
    assert (found.mtime, found.fetch_by_commit) == ("commit", True)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("ref=a#b", 'ref conflicts: "b" vs "a"'),
        ("subdir=a#x:b", 'subdir conflicts: "b" vs "a"'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("tag=a&tag=b", 'query "tag" has multiple values'),
        ("ref=", 'query "ref" has no value'),
        ("mtime", 'query "mtime" has no value'),
        ("depth=3", 'unexpected query "depth"'),
        ("submodules=maybe", 'invalid submodules value: "maybe"'),
        ("mtime=now", "invalid mtime value"),
    ],
)
def test_bad_queries(query: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_git_reference(f"https://host/it.git?{query}")


def test_parts_of_an_address() -> None:
    url = parse_git_url("https://me:word@host:1/a%20b.git#x")

    assert (url.user, url.host, url.path, url.ref) == ("me:word", "host:1", "/a b.git", "x")
    with pytest.raises(InputError, match="file: invalid protocol"):
        parse_git_url("file:///it.git")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("https://host/it.git?ref=main", "https://host/it.git#main"),
        ("https://host/it.git?branch=x&subdir=a/b", "https://host/it.git#refs/heads/x:a/b"),
        ("https://host/it.git?subdir=a", "https://host/it.git#:a"),
        ("https://host/it.git#x", "https://host/it.git#x"),
        (f"https://host/it.git?ref=x&checksum={COMMIT}", f"https://host/it.git?ref=x&checksum={COMMIT}"),
        ("https://host/it.git?keep-git-dir=true", "https://host/it.git?keep-git-dir=true"),
        ("https://host/a?ref=main", "https://host/a?ref=main"),
    ],
)  # fmt: skip
def test_a_query_as_a_fragment_as_far_as_one_can_say_it(text: str, plain: str) -> None:
    assert with_fragment(text) == plain
