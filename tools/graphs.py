"""Golden graphs: what Dockerfiles mean, vertex by vertex, with the keys under which results are kept.

`python -m tools.graphs [CASE …]` writes `graph.txt` of the cases in tests/golden/graphs anew; read the
difference, as each changed key is a step that all users run again. Nothing in a graph depends on the machine,
on the time or on where the project is: base images are made up from their names, and a result is named by
the key that it would be looked for under.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from polyarch.digest import Digest, sha256
from polyarch.dockerfile.lowering.lower import Lowered, lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.parser import parse
from polyarch.graph.graph import Graph, GraphMaker
from polyarch.graph.location import SourceText
from polyarch.graph.op import JSONObject
from polyarch.graph.vertex import Vertex, canonical_json
from polyarch.platforms import Platform
from polyarch.platforms import parse as parse_platform
from polyarch.request.limits import Resources, Ulimit
from polyarch.solver.key import InputPart, fast_key, slow_key
from polyarch.worker.worker import content_inputs
from tests.support.dockerfiles.lowering import AMD64, Images
from tools.beside import PROJECT

__all__ = ["CASES", "COMMAND", "graph_of", "lowered_of"]

CASES = PROJECT / "tests" / "golden" / "graphs"
COMMAND = "python -m tools.graphs"

_IMAGES = Images({
    "base": {},
    "registry.test/team/tools:1": {"Entrypoint": ["/tool"], "Labels": {"made": "by others"}},
    "triggers": {"OnBuild": ["ARG from_child", "COPY . /src", "RUN make $from_child"]},
    "inherited": {"User": "app", "WorkingDir": "/home/app", "Env": ["HOME=/home/app"]},
})  # fmt: skip
_DIGITS = 16  # of a digest: enough to tell keys apart, and lines that can be read

_SHAPES: Mapping[str, Callable[[Any], Any]] = {
    "allow": frozenset,
    "no_cache_stages": frozenset,
    "extra_hosts": lambda pairs: tuple((name, address) for name, address in pairs),
    "ulimits": lambda found: tuple(Ulimit(name=n, soft=soft, hard=hard) for n, soft, hard in found),
    "resources": lambda found: Resources(**found),
}


def lowered_of(case: Path) -> list[Lowered]:
    """Return what the Dockerfile of a case means on its platforms."""
    dockerfile = parse(SourceText(name="Dockerfile", text=(case / "Dockerfile").read_text()))
    flags = _flags(case)
    platforms = [parse_platform(name) for name in flags.pop("platforms", ["linux/amd64"])]
    options = _options(flags, is_multi_platform=len(platforms) > 1)
    maker = GraphMaker()
    return [
        lower(dockerfile, platform, options=options, maker=maker, images=_IMAGES)
        for platform in platforms
    ]


def graph_of(case: Path) -> str:
    """Return what the Dockerfile of a case means on its platforms, as text."""
    lowered = lowered_of(case)
    graph = Graph(targets=tuple(each.vertex for each in lowered))
    numbers = {vertex.digest: number for number, vertex in enumerate(graph.vertices())}
    lines = list(_vertices(graph, numbers))
    for each in lowered:
        lines += _image(each, numbers)
    return "\n".join(lines) + "\n"


def _same(value: Any) -> Any:
    return value


def _flags(case: Path) -> dict[str, Any]:
    path = case / "options.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def _options(flags: Mapping[str, Any], *, is_multi_platform: bool) -> LowerOptions:
    """Return the request's part: fields of LowerOptions as JSON has them."""
    values: dict[str, Any] = {
        name: _SHAPES.get(name, _same)(value) for name, value in flags.items()
    }
    return LowerOptions(build_platform=AMD64, is_multi_platform=is_multi_platform, **values)


def _vertices(graph: Graph, numbers: Mapping[Digest, int]) -> Iterator[str]:
    """Yield the lines of all vertices, inputs first."""
    identities: dict[Digest, str] = {}
    for vertex in graph.vertices():
        yield f"[{numbers[vertex.digest]}] {vertex.name or '(no name)'}"
        if vertex.platform_name:
            yield f"    for {vertex.platform_name}"
        if vertex.inputs:
            yield f"    from {' '.join(f'[{numbers[each.digest]}]' for each in vertex.inputs)}"
        if vertex.ignore_cache:
            yield "    earlier results may not be used"
        yield from _op(vertex)
        keys = _keys(vertex, identities)
        identities[vertex.digest] = next(reversed(keys.values()))
        yield f"    keys: {', '.join(f'{name} {key[:_DIGITS]}' for name, key in keys.items())}"
        yield ""


def _op(vertex: Vertex) -> Iterator[str]:
    """Yield the fields of an op that say something, and where the cache's form of them differs."""
    definition, cached = _plain(vertex.op.definition()), _plain(vertex.op.cache_form())
    yield f"    {definition.pop('type')}"
    for name, value in definition.items():
        yield from _field(name, value)
        if cached.get(name, value) != value:
            yield from _field(f"{name} in the key", cached[name])
    unseen = sorted(definition.keys() - cached.keys())
    if unseen:
        yield f"        not in the key: {', '.join(unseen)}"


def _plain(form: JSONObject) -> dict[str, Any]:
    """Return an op's form with platforms as text, and without the fields of its parts that say nothing."""
    plain = json.loads(canonical_json(form))
    if "platform" in plain:
        plain["platform"] = str(Platform(**plain["platform"]))
    for name, value in plain.items():
        if isinstance(value, list):
            plain[name] = [_telling(each) if isinstance(each, dict) else each for each in value]
    return _telling(plain)


def _telling(fields: JSONObject) -> JSONObject:
    return {name: value for name, value in fields.items() if value not in ("", [], {}, 0, None)}


def _field(name: str, value: object) -> Iterator[str]:
    """Yield a value on one line, or if it is a list of objects each on a line of its own."""
    if isinstance(value, list) and any(isinstance(each, dict) for each in value):
        yield f"        {name}:"
        for each in value:
            yield f"            {each.pop('do')} {_line(each)}"
    else:
        yield f"        {name}: {_line(value)}"


def _keys(vertex: Vertex, identities: Mapping[Digest, str]) -> dict[str, str]:
    """Return the digest of the op's cache form, and the keys that a result is looked for under.

    An input has the identity that its own last key stands for; so has what is read of it by content.
    """
    read = content_inputs(vertex)
    known = [identities[each.digest] for each in vertex.inputs]
    parts = [InputPart(identity=identity) for identity in known]
    seen = [
        InputPart(identity=identity, content=sha256(identity.encode()) if index in read else None)
        for index, identity in enumerate(known)
    ]
    keys = {"op": sha256(canonical_json(vertex.op.cache_form())).removeprefix("sha256:")}
    found = {"fast": fast_key(vertex, parts), "slow": slow_key(vertex, seen)} if parts else {}
    return keys | {name: key.removeprefix("sha256:") for name, key in found.items() if key}


def _image(lowered: Lowered, numbers: Mapping[Digest, int]) -> Iterator[str]:
    """Yield what the image of one platform is: its file system, and the config before there are layers."""
    yield f"{lowered.platform} is [{numbers[lowered.vertex.digest]}], with the config"
    run = lowered.config.run.to_json()
    yield from (f"    {name}: {_line(value)}" for name, value in run.items())
    if lowered.config.author:
        yield f"    author: {lowered.config.author}"
    if lowered.epoch is not None:
        yield f"    epoch: {lowered.epoch}"
    yield "    history:"
    for entry in lowered.config.history:
        yield f"        {'-' if entry.empty_layer else '+'} {entry.created_by}"
    yield ""


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def main(names: Sequence[str]) -> int:
    """Write the graphs of these cases, of all if there are no names; return 1 if one is unknown."""
    cases = [CASES / name for name in names] or sorted(CASES.iterdir())
    for case in cases:
        if not (case / "Dockerfile").exists():
            print(f"{case / 'Dockerfile'} isn't there", file=sys.stderr)
            return 1
        (case / "graph.txt").write_text(graph_of(case), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
