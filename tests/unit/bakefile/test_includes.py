"""`include`: bake files that others complete."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polyarch.bakefile.access import Access, RemoteFile, Tree
from polyarch.bakefile.allowed import Allowed
from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import read_local
from polyarch.errors import BakeFileError

COMMON = """
variable "TAG" { default = "v1" }
function "named" {
  params = [x]
  result = "${x}:${TAG}"
}
target "_common" {
  labels = { tag = TAG }
  contexts = { files = "files" }
}
"""
API = """
target "default" { tags = [lower("API")] }
target "test" {
  inherits = ["default"]
  contexts = { base = "target:default" }
}
group "all" { targets = ["default", "test"] }
target "_hidden" {}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def plan(*names: str, access: Access | None = None) -> dict[str, Any]:
    around = Surroundings(environ={}, access=access or Access())
    config = parse_files(read_local(["docker-bake.hcl"]), around)
    found: dict[str, Any] = config.plan(names or ("default",), (), {}).plain()
    return found


def test_a_file_is_one_definition_with_the_one_that_includes_it() -> None:
    write(
        {
            "shared/common.hcl": COMMON,
            "docker-bake.hcl": 'include = ["shared/common.hcl"]\n'
            'target "default" {\n  inherits = ["_common"]\n  tags = [named("x")]\n}\n'
            'target "_common" { args = { A = "over" } }\n',
        }
    )

    assert plan()["target"]["default"] == {
        "context": ".",
        "contexts": {"files": "shared/files"},
        "dockerfile": "Dockerfile",
        "args": {"A": "over"},
        "labels": {"tag": "v1"},
        "tags": ["x:v1"],
    }


def test_a_directory_has_its_own_names_and_paths() -> None:
    write(
        {
            "services/api/docker-bake.hcl": API,
            "services/web/compose.yaml": "services: {front: {build: ./front}}",
            "docker-bake.hcl": 'include = ["services/api", { path = "services/web", prefix = "www" }]\n'
            'group "default" { targets = ["api-all", "www", "api-extra"] }\n'
            'target "api-extra" { inherits = ["api"] }\n'
            'target "api-test" { args = { A = "over" } }\n',
        }
    )

    found = plan()

    assert found["group"] == {
        "default": {"targets": ["api-all", "api-extra", "www"]},
        "api-all": {"targets": ["api", "api-test"]},
        "www": {"targets": ["www-front"]},
    }
    own = {"context": "services/api", "dockerfile": "Dockerfile", "tags": ["api"]}
    assert found["target"] == {
        "api": own,
        "api-test": {**own, "contexts": {"base": "target:api"}, "args": {"A": "over"}},
        "api-extra": {**own, "context": "."},
        "www-front": {"context": "services/web/front", "dockerfile": "Dockerfile"},
    }
    assert plan("_api-hidden")["target"]


def test_a_file_that_two_others_include_is_read_once() -> None:
    write(
        {
            "common.hcl": COMMON,
            "a.hcl": 'include = ["common.hcl"]',
            "b.hcl": 'include = ["./common.hcl"]\ntarget "_common" { args = { B = TAG } }',
            "docker-bake.hcl": 'include = ["a.hcl", "b.hcl"]\ntarget "default" { inherits = ["_common"] }',
        }
    )

    assert plan()["target"]["default"]["args"] == {"B": "v1"}


def test_what_is_elsewhere_is_fetched_once_and_keeps_its_contexts(here: Path) -> None:
    write(
        {
            "away/docker-bake.hcl": API + 'target "sub" { context = "../../x" }',
            "docker-bake.hcl": 'include = ["https://h/o/r.git#v1:away", "https://h/one.hcl"]\n'
            'group "default" { targets = ["away-test", "away-sub", "one"] }\n',
        }
    )
    asked: list[str] = []

    def fetch(address: str) -> Tree | RemoteFile:
        asked.append(address)
        if address.endswith(".hcl"):
            return RemoteFile(address=address, data=b'target "one" {}')
        return Tree(address=address, root=here / "away")

    access = Access(allowed=Allowed(includes=("https://h/",)), fetch=fetch)
    found = plan(access=access)["target"]

    assert asked == ["https://h/o/r.git#v1:away", "https://h/one.hcl"]
    assert {name: each["context"] for name, each in found.items()} == {
        "away": "https://h/o/r.git#v1:away",
        "away-test": "https://h/o/r.git#v1:away",
        "away-sub": "https://h/o/r.git#v1:away/x",
        "one": ".",
    }


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"docker-bake.hcl": 'include = ["a/b.hcl"]', "a/b.hcl": "\ninclude = [\n'../docker-bake.hcl']".replace("'", '"')},
         "a/b.hcl:3,1-21: Invalid include; include cycle: docker-bake.hcl includes a/b.hcl includes docker-bake.hcl"),
        ({"docker-bake.hcl": 'include = ["a"]', "a/docker-bake.hcl": 'include = ["."]'},
         "include cycle: a/docker-bake.hcl includes a/docker-bake.hcl"),
        ({"docker-bake.hcl": 'include = ["a.hcl", "b.hcl"]', "a.hcl": API, "b.hcl": API},
         'b.hcl:2,1-17: Two definitions of target "default"; It is defined at a.hcl:2 already, and neither file includes the other.'),
        ({"docker-bake.hcl": 'include = ["a", "b/a"]', "a/docker-bake.hcl": API, "b/a/docker-bake.hcl": API},
         'docker-bake.hcl:1,17-22: Two definitions of a name; b/a/docker-bake.hcl defines "a", which is defined already.'),
        ({"docker-bake.hcl": 'include = ["nosuch.hcl"]'}, "open nosuch.hcl: no such file or directory"),
        ({"docker-bake.hcl": 'include = ["a"]', "a/x": ""}, "no bake file in a"),
        ({"docker-bake.hcl": 'include = ["../x.hcl"]'}, "additional privileges requested"),
        ({"docker-bake.hcl": 'include = ["https://h/x"]'}, "Reading bake files from https://h/x"),
        ({"docker-bake.hcl": 'include = ["a.hcl"]', "a.hcl": "target {}"}, "a.hcl:1,1-7: Missing name for target"),
        ({"docker-bake.hcl": 'include = "a"'}, "A list of paths and addresses is required."),
        ({"docker-bake.hcl": "include = [1]"}, "Its path must be a text."),
        ({"docker-bake.hcl": "include = [{}]"}, "A path or an address is missing."),
        ({"docker-bake.hcl": 'include = [{ path = "a", perfix = "b" }]'}, 'There is no field "perfix" (did you mean prefix?).'),
        ({"docker-bake.hcl": 'include = [{ path = "a", prefix = "b.c" }]'}, 'The prefix "b.c" has characters'),
        ({"docker-bake.hcl": "include = [TAG]"}, 'There is no variable named "TAG".'),
    ],
)  # fmt: skip
def test_what_can_not_be_included_is_told_with_its_place(
    files: dict[str, str], message: str
) -> None:
    write(files)

    with pytest.raises(BakeFileError) as caught:
        plan()

    assert message in str(caught.value)
    assert caught.value.place is not None


def test_a_few_files_do_not_become_too_many() -> None:
    for number in range(11):
        path = f'path = "../{number + 1}"'
        twice = f'include = [{{ {path}, prefix = "a" }}, {{ {path}, prefix = "b" }}]'
        write({f"{number}/docker-bake.hcl": twice})
    write({"11/docker-bake.hcl": "", "docker-bake.hcl": 'include = ["0"]'})

    with pytest.raises(BakeFileError, match="includes too many files"):
        plan()
