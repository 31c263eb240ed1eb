from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError, MachineError
from polyarch.process import Completed
from polyarch.registry.credentials import ANONYMOUS, Credential, Credentials

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
