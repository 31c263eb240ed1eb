"""Whole definitions: files -> what `--print` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.bakefile.config import Config
from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import File
from polyarch.bakefile.validate import check_target
from polyarch.errors import BakeFileError, InputError


def parsed(
    text: str, *, name: str = "docker-bake.hcl", environ: Mapping[str, str] | None = None
) -> Config:
    around = Surroundings(environ=environ or {}, directory=None)
    return parse_files([File(name=name, text=text)], around)


def targets(text: str, *names: str, sets: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    plan = parsed(text, **more).plan(names or ("default",), sets, more.get("environ") or {})
    found = plan.plain()["target"]
    assert isinstance(found, dict)
    return found


BASIC = {"context": ".", "dockerfile": "Dockerfile"}


def test_a_target_has_variables_and_references_in_any_order() -> None:
    text = """
    target "default" {
      args = { FROM = target.base.args.V, TAG = "${TAG}-x" }
      tags = [for each in ["a", "b"] : name(each)]
    }
    function "name" {
      params = [x]
      result = "${REPO}/${x}:${TAG}"
    }
    target "base" { args = { V = REPO } }
    variable "TAG" { default = "latest" }
    REPO = "repo"
    """

    assert targets(text) == {
        "default": {
            **BASIC,
            "args": {"FROM": "repo", "TAG": "latest-x"},
            "tags": ["repo/a:latest", "repo/b:latest"],
        }
    }


def test_inheritance_merges_maps_and_replaces_lists() -> None:
    text = (
        """
    target "a" {
      args = { X = "a", Y = "a", Z = null }
      tags = ["a"]
      cache-from = ["user/a", "type=local,src=d"]
      secret = ["id=s,env=A"]
    }
    target "b" {
      inherits = ["a"]
      args = { Y = "b" }
      platforms = ["linux/amd64"]
      secret = [{ id = "s", src = "f" }]
      output = [{ type = "oci", dest = "x.tar" }]
    }
    target "default" { inherits = ["b"] tags = ["d"] }
    """.replace('["b"] tags', '["b"]\n tags')
        .replace("{ inherits", "{\n inherits")
        .replace('["d"] }', '["d"]\n }')
    )

    assert targets(text)["default"] == {
        **BASIC,
        "args": {"X": "a", "Y": "b"},
        "tags": ["d"],
        "cache-from": [{"ref": "user/a", "type": "registry"}, {"src": "d", "type": "local"}],
        "secret": [{"id": "s", "src": "f"}],
        "platforms": ["linux/amd64"],
        "output": [{"dest": "x.tar", "type": "oci"}],
    }


def test_a_matrix_makes_a_group() -> None:
    text = """
    target "m" {
      name = "m-${v}-${replace(w.n, ".", "_")}"
      matrix = { v = ["a", "b"], w = [{ n = "1.0" }, { n = "2" }] }
      args = { V = v, W = w.n }
    }
    """
    plan = parsed(text).plan(("m",), (), {})

    assert plan.groups["m"].targets == ("m-a-1_0", "m-b-1_0", "m-a-2", "m-b-2")
    assert plan.groups["default"].targets == ("m",)
    assert plan.targets["m-b-2"].args == {"V": "b", "W": "2"}


@pytest.mark.parametrize(
    ("declared", "environ", "expected"),
    [
        ('default = "a"', {}, "a"),
        ('default = "a"', {"V": "e"}, "e"),
        ("default = 1", {"V": "2.5"}, "2.5"),
        ("default = true", {"V": "F"}, "false"),
        ("", {}, ""),
        ("type = string", {}, None),
        ("type = list(number)", {"V": "1,2"}, "[1,2]"),
        ("type = map(string)", {"V": "a:1,b:2"}, '{"a":"1","b":"2"}'),
        ("type = object({a = number})", {"V_JSON": '{"a": 1}'}, '{"a":1}'),
        ("type = set(string)\n  default = []", {"V": "b,a,b"}, '["a","b"]'),
        ('default = "a"', {"V": "e", "BUILDX_BAKE_DISABLE_VARS_ENV_LOOKUP": "1"}, "a"),
    ],
)
def test_variables_come_from_outside(
    declared: str, environ: dict[str, str], expected: str | None
) -> None:
    text = f'variable "V" {{\n  {declared}\n}}\ntarget "default" {{\n args = {{ V = V == null ? null : try(convert(V, string), jsonencode(V)) }}\n}}'

    found = targets(text, environ=environ)["default"].get("args", {}).get("V")

    assert found == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("*.args.A=1", {"args": {"A": "1"}}),
        ("app.tags=x", {"tags": ["x"]}),
        ("a*.tags+=x", {"tags": ["t", "x"]}),
        ("app.platform=linux/arm64", {"platforms": ["linux/arm64"]}),
        ("app.output=type=local,dest=o", {"output": [{"dest": "o", "type": "local"}]}),
        ("app.push=true", {"output": [{"push": "true", "type": "image"}]}),
        ("app.load=true", {"output": [{"type": "docker"}]}),
        ("app.no-cache=true", {"no-cache": True}),
        ("app.network=none", {"network": "none"}),
        ("app.ulimits=nofile=1", {"ulimits": ["nofile=1"]}),
        ("app.resources.memory=1g", {"resources": {"memory": "1g"}}),
        ("app.contexts.c=d", {"contexts": {"c": "d"}}),
        ("app.attest=type=sbom", {"attest": [{"type": "sbom"}]}),
        ("app.labels.l=v", {"labels": {"l": "v"}}),
    ],
)
def test_set_changes_targets(change: str, expected: dict[str, Any]) -> None:
    found = targets('target "app" { tags = ["t"] }', "app", sets=(change,))["app"]

    assert found == {**BASIC, "tags": ["t"], **expected}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("app.tgas=x", "unknown key: tgas (did you mean tags?)"),
        ("ap.tags=x", "could not find any target matching 'ap' (did you mean app?)"),
        ("app", "invalid override key app, expected target.name"),
        ("app.tags", "invalid override app.tags, expected target.name=value"),
        ("app.args=x", "invalid key app.args, args requires name"),
        ("app.pull=maybe", "invalid value maybe for boolean key pull"),
        ("app.secret.s=src=f", 'secret "s" must be declared before it can be overridden'),
        ("app.resources.memoy=1", "unknown resources key memoy (did you mean memory?)"),
    ],
)
def test_set_says_what_it_does_not_understand(change: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        targets('target "app" {}', "app", sets=(change,))

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('target "default" {\n  tags = "x"\n}', "2,10-13: Unsuitable value type; Unsuitable value: list of string required, but have string"),
        ('target "default" {\n  args = [NOSUCH]\n}', '2,11-17: Unknown variable; There is no variable named "NOSUCH".'),
        ("A = B\nB = A", "2,5-6: Invalid expression; variable cycle not allowed for A"),
        ('target "a.b" {}', '1,8-13: Invalid name; only "[a-zA-Z0-9_-]+" are allowed'),
        ('target "a" {\n  name = "x"\n}', "1,8-11: Invalid name; name requires matrix"),
        ('target "a" {\n  name = "x"\n  matrix = { v = ["1", "2"] }\n}', '1,8-11: Invalid name; duplicate name "x"'),
        ("target {\n}", "1,1-7: Missing name for target; All target blocks must have 1 labels (name)."),
        ('variable "V" {\n  default = 1\n  validation {\n    condition = V > 1\n    error_message = "too small"\n  }\n}', "4,17-22: Validation failed; too small"),
        ('target "default" {\n  tags = ["a", null]\n}', "2,10-11: Unsuitable value type; Unsuitable value: null value is not allowed"),
        ('target "default" {\n  no-cache = upper("x")\n}', "2,14-20: Unsuitable value type"),
        ('target "default" {\n  target = substr("x", 0.5, 1)\n}', '2,12-19: Error in function call; Call to function "substr" failed: value must be a whole number, between -9223372036854775808 and 9223372036854775807.'),
        ('variable "V" {\n  type = optional(string)\n}', '2,10-18: Invalid type specification; Keyword "optional" is valid only as a modifier for object type attributes.'),
        ('target "default" {\n  resources = null\n}', "Unsuitable value: null value is not allowed"),
        ('target "default" {\n  contexts = { a = null }\n}', "Unsuitable value: null value is not allowed"),
        ('target "default" {\n  policy = [null]\n}', "Unsuitable value: map of string required"),
        ('group "a" {\n  target = ["b"]\n}', '1,1-10: Missing required argument; The argument "targets" is required'),
        ('function "f" {\n  parms = [x]\n}', '2,3-8: Unsupported argument; An argument named "parms" is not expected here. Did you mean "params"?'),
        ('function "f" {\n  x "y" {\n  }\n}', '2,3-8: Unsupported block type; Blocks of type "x" are not expected here.'),
        ('variable "V" {\n  validation {\n    conditoin = true\n  }\n}', 'Did you mean "condition"?'),
        ('variable "V" {\n  description = B\n}', "2,17-18: Variables not allowed; Variables may not be used here."),
        ('target "a" {\n  args = { x = target.b.args.y }\n}\ntarget "b" {\n  args = { y = target.a.args.x }\n}', "reference cycle not allowed for target.b.args"),
    ],
)  # fmt: skip
def test_faults_have_their_place(text: str, message: str) -> None:
    with pytest.raises(BakeFileError) as caught:
        parsed(text)

    assert message in str(caught.value)
    assert caught.value.place is not None
    assert ">>>" in caught.value.place.excerpt()


def test_contexts_bring_targets_that_are_built_on() -> None:
    text = 'target "default" {\n  contexts = { base = "target:other" }\n}\ntarget "other" {}'

    found = targets(text)

    assert found["other"] == {**BASIC, "output": [{"type": "cacheonly"}]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('target "default" {\n  contexts = { b = "target:default" }\n}', "target default cannot link to itself"),
        ('target "default" {\n  contexts = { b = "target:o" }\n}\ntarget "o" {\n  contexts = { b = "target:default" }\n}', "infinite loop from o to default"),
        ('target "defaul" {}', "failed to find target default (did you mean defaul?)"),
    ],
)  # fmt: skip
def test_what_can_not_be_connected_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        targets(text)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('target "default" {\n  inherits = ["bas"]\n}\ntarget "base" {}', 2),
        ('target "default" {\n  contexts = { b = "target:bas" }\n}\ntarget "base" {}', 2),
        ('target "default" {\n  contexts = { b = "target:default" }\n}', 2),
        ('group "default" {\n  targets = ["bas"]\n}\ntarget "base" {}', 2),
        ('target "default" {\n\n  platforms = ["a/b/c/d/e"]\n}', 3),
        ('target "default" {\n\n  ulimits = ["nofil=1"]\n}', 3),
        ('target "default" {\n  inherits = ["b"]\n}\ntarget "b" {\n  shm-size = "x"\n}', 5),
    ],
)
def test_what_is_found_out_late_has_its_place_too(text: str, line: int) -> None:
    def plan_and_check() -> None:
        for each in parsed(text).plan(("default",), (), {}).targets.values():
            check_target(each, {})

    with pytest.raises(InputError) as caught:
        plan_and_check()

    assert caught.value.line == line


def test_what_the_command_line_says_has_no_place_in_a_file() -> None:
    plan = parsed('target "default" { shm-size = "1g" }').plan(("default",), ("*.shm-size=x",), {})

    with pytest.raises(InputError, match="invalid value x for membytes key shm-size") as caught:
        check_target(plan.targets["default"], {})

    assert caught.value.place is None


def test_names_that_mean_nothing_are_told() -> None:
    text = 'target "a" {\n  tag = ["x"]\n  other = 1\n  args {\n  }\n}\ntarge "b" {\n}\nvariable "V" {\n  defult = 1\n}\n'

    assert parsed(text).warnings == (
        'docker-bake.hcl:2: target "a" has no attribute "tag" (did you mean tags?)',
        'docker-bake.hcl:4: target "a" has no blocks of type "args": write args = { … }',
        'docker-bake.hcl:7: blocks of type "targe" mean nothing here (did you mean target?)',
        'docker-bake.hcl:10: variable "V" has no attribute "defult" (did you mean default?)',
    )


def test_json_is_the_same_language() -> None:
    text = '{"variable": {"T": {"default": "l", "type": "string"}}, "target": {"default": {"tags": ["x:${T}"], "args": {"A": null, "B": 1}}}}'

    assert targets(text, name="docker-bake.json")["default"] == {
        **BASIC,
        "args": {"B": "1"},
        "tags": ["x:l"],
    }


def test_json_faults_have_their_place() -> None:
    with pytest.raises(BakeFileError, match=r"x.json:3,1-2: Trailing comma in object"):
        parsed('{"target":\n{"a": {"tags": []}\n,}}', name="x.json")


def test_compose_files_make_targets_of_services() -> None:
    text = """
    x-common: &common
      args: { A: "${A:-a}", B: , C: $$c }
    services:
      web.app:
        image: img
        environment: { B: own }
        build:
          <<: *common
          context: ./dir
          additional_contexts: ["o=service:other"]
          secrets: [tok]
          x-bake: { platforms: linux/amd64, tags: [t] }
      other:
        build: .
      none: { image: x }
    secrets:
      tok: { environment: TOK }
    """

    found = targets(text, name="compose.yaml")

    assert found["web_app"] == {
        "context": "dir",
        "contexts": {"o": "target:other"},
        "dockerfile": "Dockerfile",
        "args": {"A": "a", "B": "own", "C": "$c"},
        "tags": ["t"],
        "secret": [{"id": "tok", "env": "TOK"}],
        "platforms": ["linux/amd64"],
    }
    assert set(found) == {"web_app", "other"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {build: {contxt: x}}}", "services.a.build additional properties 'contxt' not allowed (did you mean context?)"),
        ("services: {a: {}}", 'service "a" has neither an image nor a build context specified'),
        ('services: {a: {build: {args: ["X=${Y:?needed}"]}}}', "required variable Y is missing a value: needed"),
        ("a: [", "failed to parse compose.yaml: yaml at line 1"),
        ("a: 1\na: 2", 'mapping key "a" already defined at line 1'),
        ("services: {a: {build: {dockerfile: D, dockerfile_inline: FROM x}}}", 'service "a" declares mutualy exclusive dockerfile and dockerfile_inline'),
        ("services: {a: {build: {additional_contexts: {c: 'service:wbe'}}}, web: {build: .}}", 'declares unknown service "wbe" as additional contexts c (did you mean web?)'),
        ("services: {a: {build: {additional_contexts: ['c=service:b']}}, b: {image: x}}", 'declares non-buildable service "b" as additional contexts c'),
        ("services: {a: {extends: b}}", 'service "b" not found'),
    ],
)  # fmt: skip
def test_compose_faults_are_told(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parsed(text, name="compose.yaml")

    assert message in str(caught.value)


def check_compose_file(text: str) -> None:
    for each in parsed(text, name="compose.yaml").plan(("default",), (), {}).targets.values():
        check_target(each, {})


@pytest.mark.parametrize(
    ("build", "line"),
    [
        ("      contxt: .", 4),
        ("      context: .\n      args:\n        A: b\n        C: ${D", 7),
        ("      context: .\n      tags: t", 5),
        ("      cache_from:\n      - x/y\n      - type=", 6),
        ("      ulimits:\n        nproc: 1\n        nofile: {soft: 2, hard: 1}", 6),
        ("      secrets:\n      - s", 5),
        ("      shm_size: 1 apple", 4),
        ("      platforms:\n      - no/such/platform/here", 4),
        ("      additional_contexts:\n      - a=b\n      - c=service:wbe", 6),
        ("      x-bake:\n        output:\n        - type=tar,dest=x\n        - 'type=tar,\"x'", 7),
        ("      x-bake:\n        contexts: {a: target:none}", 5),
        ("      context: .\n      context: .", 5),
        ("      context: [", 4),
    ],
)  # fmt: skip
def test_compose_faults_have_their_line_and_excerpt(build: str, line: int) -> None:
    text = f"services:\n  web:\n    build:\n{build}"

    with pytest.raises(InputError) as caught:
        check_compose_file(text)

    assert caught.value.place is not None
    assert caught.value.line == line
    shown = caught.value.place.excerpt()
    assert shown.startswith(f"compose.yaml:{line}\n")
    assert f" {line:3d} | >>> {text.splitlines()[line - 1]}" in shown


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (("services:\n  web:\n    build: .\n", "services:\n  web:\n    build:\n      shm_size: x\n"), "two.yaml:4"),
        (("services:\n  web:\n    build:\n      shm_size: x\n", "services:\n  web:\n    build:\n      target: y\n"), "one.yaml:4"),
        (("include: [other.yaml]\n",), "other.yaml:4"),
        (("services:\n  web:\n    extends: {file: other.yaml, service: bad}\n",), "other.yaml:4"),
        (("services:\n  web:\n    extends:\n      file: missing.yaml\n      service: bad\n",), "one.yaml:4"),
        (("x-a: &a\n  shm_size: x\nservices:\n  web:\n    build:\n      <<: *a\n",), "one.yaml:2"),
        (("services:\n  web:\n    image: x\n    env_file:\n    - gone.env\n    build: .\n",), "one.yaml:5"),
    ],
)  # fmt: skip
def test_compose_faults_are_shown_in_the_file_that_has_them(
    files: tuple[str, ...], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.yaml").write_text("services:\n  bad:\n    build:\n      shm_size: x\n")
    named = [
        File(name=name, text=text)
        for name, text in zip(("one.yaml", "two.yaml"), files, strict=False)
    ]

    with pytest.raises(InputError) as caught:
        parse_files(named, Surroundings(environ={}, directory=None))

    assert caught.value.place is not None
    assert caught.value.place.excerpt().startswith(f"{place}\n")


def test_names_of_compose_that_are_nearly_others_are_told_of() -> None:
    text = "serivces: {}\nservices:\n  web:\n    image: x\n    biuld: .\n    links: []\n    expose: []\n    build: {x-bake: {platform: [], tags: []}}\n"

    assert parsed(text, name="compose.yaml").warnings == (
        'compose.yaml:1: a Compose file has no field "serivces" (did you mean services?)',
        'compose.yaml:5: service web has no field "biuld" (did you mean build?)',
        'compose.yaml:8: x-bake of service web has no field "platform" (did you mean platforms?)',
    )


TEXTS = st.text(st.sampled_from('ab${}%"\\\n é~'), max_size=8)


@given(args=st.dictionaries(st.sampled_from(["A", "B"]), TEXTS), inline=TEXTS, annotation=TEXTS)
def test_what_was_printed_prints_the_same(
    args: dict[str, str], inline: str, annotation: str
) -> None:
    written = json.dumps(
        {
            "target": {
                "default": {"args": args, "dockerfile-inline": inline, "annotations": [annotation]}
            }
        }
    )
    # What a file says of templates is escaped once, as `--print` does.
    escaped = written.replace("${", "$${").replace("%{", "%%{")
    once = parsed(escaped, name="a.json").plan(("default",), (), {}).plain()

    again = parsed(json.dumps(once), name="a.json").plan(("default",), (), {}).plain()

    assert again == once


@given(st.text(st.sampled_from('target "a" {}=\n[]()${}%~?:.,<-#/*1\\'), max_size=40))
def test_texts_that_nobody_would_write_give_our_errors_only(text: str) -> None:
    for name in ("x.hcl", "x.json", "x.yaml"):
        with suppress(InputError):
            assert parsed(text, name=name).groups is not None


def test_dotenv_is_read_below_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('A=file\nB="two\\nlines"\nexport C=${A}x # comment\n')
    around = Surroundings(environ={"A": "environment"}, directory=str(tmp_path))
    text = 'services: {a: {build: {args: ["A", "B=${B}", "C=${C}"]}}}'

    plan = parse_files([File(name="compose.yaml", text=text)], around).plan(("a",), (), {})

    assert plan.targets["a"].args == {"A": "environment", "B": "two\nlines", "C": "environmentx"}
