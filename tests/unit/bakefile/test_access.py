"""What definitions read beside themselves: nothing of this machine, and nothing elsewhere, that wasn't allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.bakefile.access import Access, Tree
from polyarch.bakefile.allowed import Allowed, Missing
from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import File
from polyarch.errors import InputError

COMPOSE = {
    "include": "include: [{path}]\nservices: {{a: {{build: .}}}}",
    "extends": "services: {{a: {{extends: {{service: b, file: {path}}}}}}}",
    "env_file": "services: {{a: {{build: {{args: [X]}}, env_file: {path}}}}}",
}
OTHER = "services: {b: {build: .}}"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "work"
    inner.mkdir()
    (inner / "inside").write_text(OTHER)
    (tmp_path / "outside").write_text(OTHER)
    (inner / "link").symlink_to(tmp_path / "outside")
    monkeypatch.chdir(inner)
    return inner


def read(
    text: str, *, name: str = "compose.yaml", tree: Tree | None = None, access: Access | None = None
) -> set[str]:
    """Read a definition; returns the names of its targets."""
    around = Surroundings(environ={}, directory=".", access=access or Access())
    config = parse_files([File(name=name, text=text, tree=tree, path=name)], around)
    return {each.name for each in config.targets}


@pytest.mark.parametrize("kind", COMPOSE)
@pytest.mark.parametrize("path", ["../outside", "link"])
def test_compose_files_name_files_elsewhere_if_that_is_allowed(kind: str, path: str) -> None:
    text = COMPOSE[kind].format(path=path)
    asked: list[Missing] = []

    with pytest.raises(InputError, match=r"Read access to path \.\./outside") as caught:
        read(text)
    assert caught.value.hint == "if you trust the file: --allow=fs.read=../outside"
    if kind != "env_file":
        read(text, access=Access(allowed=Allowed(reads=("../outside",))))
        read(text, access=Access(environ={"BUILDX_BAKE_ENTITLEMENTS_FS": "0"}))
        read(text, access=Access(ask=asked.append))
        assert asked[0].values == ("fs.read=../outside",)


@pytest.mark.parametrize("kind", COMPOSE)
def test_files_below_the_current_directory_are_read(kind: str, here: Path) -> None:
    (here / "inside").write_text(OTHER if kind != "env_file" else "X=1")

    targets = read(COMPOSE[kind].format(path="inside"))

    # What is included comes along; what is extended doesn't.
    assert targets == ({"a", "b"} if kind == "include" else {"a"})


@pytest.mark.parametrize("kind", COMPOSE)
@pytest.mark.parametrize("path", ["{here}/inside", "../work/inside", "inside", "away"])
def test_files_from_elsewhere_read_what_came_with_them(
    kind: str, path: str, here: Path, tmp_path: Path
) -> None:
    came = tmp_path / "came"
    came.mkdir()
    (came / "away").symlink_to(here / "inside")
    tree = Tree(address="https://host/x.git", root=came)

    with pytest.raises(InputError, match="no such file or directory"):
        read(COMPOSE[kind].format(path=path.format(here=here)), tree=tree)


@pytest.mark.parametrize(
    ("allowed", "is_remote", "found"),
    [((), False, True), ((), True, False), ((".",), True, True), (("../outside",), True, False)],
)
def test_variables_of_the_directory_are_for_its_own_definitions(
    allowed: tuple[str, ...], is_remote: bool, found: bool, here: Path
) -> None:
    (here / ".env").write_text("X=secret")
    access = Access(allowed=Allowed(reads=allowed), is_remote=is_remote)

    assert bool(access.environment_file(".")) is found


def test_a_file_of_variables_that_is_a_link_out_of_the_directory(here: Path) -> None:
    (here / ".env").symlink_to(here.parent / "outside")

    with pytest.raises(InputError, match="Read access to path"):
        read("services: {a: {build: .}}")


def test_what_is_no_regular_file_is_not_read() -> None:
    with pytest.raises(InputError, match="is a device, and no regular file"):
        read("include: [/dev/zero]", access=Access(allowed=Allowed(reads=("*",))))


@pytest.mark.parametrize(
    ("allowed", "address", "is_allowed"),
    [
        ("https://host/a", "https://host/a", True),
        ("https://host/a", "https://host/a/b.git#v1:x", True),
        ("https://host/a/", "https://host/a/b", True),
        ("https://host/a", "https://host/ab", False),
        ("https://host", "https://host.evil/a", False),
        ("https://host/a", "https://host/a/../b", False),
        ("*", "https://host/b", True),
    ],
)
def test_addresses_are_allowed_up_to_a_slash(allowed: str, address: str, is_allowed: bool) -> None:
    asked: list[Missing] = []
    access = Access(allowed=Allowed(includes=(allowed,)), ask=asked.append)

    access.check_address(address, None)

    assert [each.values for each in asked] == ([] if is_allowed else [(f"include={address}",)])


def test_a_repository_may_name_more_of_itself() -> None:
    tree = Tree(address="https://host/x.git#v1", root=Path("/none"))

    Access().check_address("https://host/x.git#v2:sub", tree)
    with pytest.raises(InputError, match=r"Reading bake files from https://host/y\.git"):
        Access().check_address("https://host/y.git", tree)
