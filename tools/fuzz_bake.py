"""What `tools.fuzz` tries of bake files: HCL, its expressions, JSON and Compose.

Whatever the text, there are our errors or a definition, whose plan is the same after printing and reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import File
from polyarch.errors import InputError
from tools.fuzz_areas import Area, outcome_of

__all__ = ["BAKE"]

_AROUND = Surroundings(environ={"A": "1", "B": "x y"}, directory=None)
_HCL = (
    b'include = ["a.hcl", { path = "b", prefix = "c" }, "https://h/x.git"]\ntarget "a" {\n  inherits = ["c-d"]\n}\n',
    b'target "a" {\n  tags = ["x:${A}"]\n  args = { B = target.b.args.C }\n}\ntarget "b" {\n  args = { C = "1" }\n}\n',
    b'variable "A" {\n  type = list(string)\n  default = ["a"]\n}\ntarget "m" {\n  name = "m-${v}"\n  matrix = { v = A }\n}\n',
    b'function "f" {\n  params = [x]\n  result = "%{ if x > 1 }${x}%{ else }y%{ endif }"\n}\nX = f(2)\n',
)
_EXPRESSIONS = (
    b'[for k, v in {a = 1} : "${k}${v}" if v != 2]',
    b'try(convert("1", number), format("%05d", 3))',
    b"<<-E\n  a ${1 + 2 * 3} b\n  E\n",
    b'regex_replace("ab", "(a)|b", "$1")',
)
_COMPOSE = (
    b'services:\n  a:\n    build:\n      context: .\n      args: {X: "${A:-b}"}\n      x-bake: {tags: [t]}\n',
    b"x: &x {build: {context: .}}\nservices:\n  a: *x\n  b: {<<: *x, extends: a}\n",
)
_JSON = (
    b'{"target": {"a": {"tags": ["x:${A}"], "args": {"B": null}}}, "variable": {"A": {"default": 1}}}',
)


def _check(name: str) -> Callable[[bytes], str]:
    def check(data: bytes) -> str:
        return _outcome(name, data.decode("utf-8", "replace"))

    return check


def _check_expression(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return _outcome("x.hcl", f'target "default" {{\n  args = {{ A = {text}\n }}\n}}\n')


def _outcome(name: str, text: str) -> str:
    try:
        config = parse_files([File(name=name, text=text)], _AROUND)
        names = [each.name for each in config.targets]
        plan = config.plan(names, (), {}).plain()
    except InputError as error:
        return outcome_of(error)
    # Of templates `--print` escapes what buildx escapes, which isn't names, paths and tags.
    if "${" in text or "%{" in text:
        return "planned with templates"
    again = parse_files([File(name="p.json", text=json.dumps(plan))], _AROUND)
    assert again.plan(names, (), {}).plain() == plan
    return "planned"


_WORDS = tuple(
    word.encode()
    for word in (
        *'{}[]()"$%~.,:?=!&|<>#\n', "${", "%{", "~}", "<<E\n", "E\n", "for", "in", "if", "else", "endif", "endfor", "...",
        "target", "group", "variable", "function", "null", "true", "1e9", "inherits", "matrix", "name", "A", "&x", "*x", "<<: ",
    )
)  # fmt: skip

BAKE: Mapping[str, Area] = {
    "hcl": Area(lambda: _HCL, _WORDS, _check("x.hcl")),
    "hcl-expressions": Area(lambda: _EXPRESSIONS, _WORDS, _check_expression),
    "bake-json": Area(lambda: _JSON, _WORDS, _check("x.json")),
    "compose": Area(lambda: _COMPOSE, _WORDS, _check("x.yaml")),
}
