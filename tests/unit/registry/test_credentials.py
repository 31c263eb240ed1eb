from __future__ import annotations

import json
from pathlib import Path

import pytest

from polyarch.errors import InputError, MachineError
from polyarch.process import Completed
from polyarch.registry.credentials import ANONYMOUS, Choice, Credential, Credentials

USER = Credential(user="user", password="pass")


def found(directory: Path, config: str, host: str) -> Credential:
    (directory / "config.json").write_text(config)
    return Credentials({"DOCKER_CONFIG": str(directory)}).find(host)


@pytest.mark.parametrize(
    ("stored", "host"),
    [
        ("r.example", "r.example"),
        ("https://r.example/v1/", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("https://index.docker.io/v1/", "registry-1.docker.io"),
    ],
)
def test_stored_password(stored: str, host: str, tmp_path: Path) -> None:
    config = f'{{"auths": {{"{stored}": {{"auth": "dXNlcjpwYXNz"}}}}}}'

    assert found(tmp_path, config, host) == USER


def test_identity_token(tmp_path: Path) -> None:
    config = '{"auths": {"r": {"identitytoken": "t"}}}'

    assert found(tmp_path, config, "r") == Credential(identity_token="t")


def test_nobody_is_known(tmp_path: Path) -> None:
    assert Credentials({"DOCKER_CONFIG": str(tmp_path)}).find("r") == ANONYMOUS
    assert found(tmp_path, '{"auths": {"other": {}}}', "r") == ANONYMOUS


def test_damaged_auth_names_the_host(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='the "auth" of r in'):
        found(tmp_path, '{"auths": {"r": {"auth": "dXNlcg=="}}}', "r")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((0, b'{"Username": "user", "Secret": "pass"}'), USER),
        ((0, b'{"Username": "<token>", "Secret": "t"}'), Credential(identity_token="t")),
        ((1, b"credentials not found in native keychain"), ANONYMOUS),
    ],
)
def test_helper(answer: tuple[int, bytes], expected: Credential, tmp_path: Path) -> None:
    asked: list[tuple[str, bytes]] = []

    def helper(program: str, host: bytes) -> Completed:
        asked.append((program, host))
        return Completed(argv=(program, "get"), status=answer[0], stdout=answer[1])

    (tmp_path / "config.json").write_text('{"credHelpers": {"r": "one"}, "credsStore": "two"}')
    credentials = Credentials({"DOCKER_CONFIG": str(tmp_path)}, helper)

    assert [credentials.find("r"), credentials.find("r")] == [expected, expected]
    credentials.find("docker.io")
    assert asked == [
        ("docker-credential-one", b"r"),
        ("docker-credential-two", b"https://index.docker.io/v1/"),
    ]


def test_helper_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "polyarch-none"}')

    with pytest.raises(MachineError, match="docker-credential-polyarch-none was not found"):
        Credentials({"DOCKER_CONFIG": str(tmp_path)}).find("r")


def auths(*names: str) -> str:
    """Return a file by which each name has a user who is called so."""
    entries = {name: {"username": name, "password": "pass"} for name in names}
    return json.dumps({"auths": entries})


@pytest.mark.parametrize(
    ("repository", "user"),
    [
        ("foo/bar/image", "r.example/foo/bar/image"),
        ("foo/bar/image/more", "r.example/foo/bar/image"),
        ("foo/bar", "r.example/foo"),
        ("foo", "r.example/foo"),
        ("food", "r.example"),
        ("other", "r.example"),
    ],
)
def test_the_longest_part_of_a_registry_counts(repository: str, user: str, tmp_path: Path) -> None:
    """The example of containers-auth.json(5)."""
    directory = tmp_path / "containers"
    directory.mkdir()
    names = ("r.example/foo/bar/image", "r.example/foo", "r.example")
    (directory / "auth.json").write_text(auths(*names))
    credentials = Credentials({"XDG_RUNTIME_DIR": str(tmp_path), "DOCKER_CONFIG": "/nonexistent"})

    assert credentials.find("r.example", (f"repository:{repository}:pull",)).user == user


def test_a_part_of_docker_hub(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(auths("docker.io/me", "https://index.docker.io/v1/"))
    credentials = Credentials({"DOCKER_CONFIG": str(tmp_path)})

    assert credentials.find("registry-1.docker.io", ("repository:me/app:pull",)).user == (
        "docker.io/me"
    )
    assert credentials.find("registry-1.docker.io", ("repository:you/app:pull",)).user == (
        "https://index.docker.io/v1/"
    )


def scoped(tmp_path: Path) -> Credentials:
    """Return what knows users that are called as the directories that their files are in."""
    for name in (
        "r.example",
        "r.example/a",
        "r.example/a@push",
        "r.example/a@pull,push",
        "r.example@push",
    ):
        directory = tmp_path / "config" / name
        directory.mkdir(parents=True, exist_ok=True)
        entries = {"r.example": {"username": name, "password": "pass"}}
        (directory / "config.json").write_text(json.dumps({"auths": entries}))
    (tmp_path / "config.json").write_text(auths("r.example", "other.example"))
    return Credentials({"BUILDX_CONFIG": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize(
    ("scopes", "user"),
    [
        (["repository:a:pull"], "r.example/a"),
        (["repository:a:pull,push"], "r.example/a@pull,push"),
        (["repository:a:push"], "r.example/a@push"),
        (["repository:b:pull"], "r.example"),
        (["repository:b:pull,push"], "r.example@push"),
    ],
)
def test_scoped_credentials_of_buildx(scopes: list[str], user: str, tmp_path: Path) -> None:
    assert scoped(tmp_path).find("r.example", scopes).user == user


def test_scoped_credentials_are_for_one_scope_of_their_host(tmp_path: Path) -> None:
    known = scoped(tmp_path)
    (tmp_path / "config/r.example/a/config.json").write_text("{}")

    mount = ["repository:a:pull,push", "repository:b:pull"]
    assert known.find("other.example", ["repository:a:pull"]).user == "other.example"
    assert known.choose("r.example", mount) == Choice()
    # A file without credentials is for asking as nobody.
    assert known.find("r.example", ["repository:a:pull"]) == ANONYMOUS


def test_who_is_known_to_docker_hub_is_known_to_what_belongs_to_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(auths("https://index.docker.io/v1/", "own.example"))
    credentials = Credentials({"DOCKER_CONFIG": str(tmp_path)})

    assert credentials.find("dhi.io").user == "https://index.docker.io/v1/"
    assert credentials.find("registry.scout.docker.com").user == "https://index.docker.io/v1/"
    assert credentials.find("another.example") == ANONYMOUS


def test_a_damaged_file_is_told_when_it_is_needed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    credentials = Credentials({"DOCKER_CONFIG": str(tmp_path)})

    assert credentials.choose("r.example", ["repository:a:pull"]) == Choice()
    with pytest.raises(InputError, match="is no JSON"):
        credentials.find("r.example", ["repository:a:pull"])
