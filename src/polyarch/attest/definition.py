"""A graph -> the steps of a build as provenance has them: ops in the JSON of BuildKit's LLB, by numbers.

What isn't the same as BuildKit's: the digests of `digestMapping`, which are of other bytes, and here-documents,
which are one step here and two there. Source: BuildKit's `solver/pb/json.go`, `provenance/buildconfig.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.attest.sources import Remote
from polyarch.attest.steps import Hiding, Inputs, actions_form, exec_form, full, platform_form
from polyarch.digest import Digest, sha256
from polyarch.golang.json import compact
from polyarch.graph.graph import walk
from polyarch.graph.op import (
    BindMount,
    CopyAction,
    DiffOp,
    ExecOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    JSONObject,
    LocalOp,
    MergeOp,
    OutputOp,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen

__all__ = ["Definition"]

_CONTEXT_HINTS = "local.sharedkeyhint"


@frozen
class Definition:
    """The steps for one platform, in an order in which they can be done, and how they are numbered.

    `remote` says of build contexts by name what they were fetched from.
    """

    vertices: tuple[Vertex, ...]
    target: Vertex
    hiding: Hiding
    remote: Mapping[str, Remote]

    @staticmethod
    def of(target: Vertex, hiding: Hiding, remote: Mapping[str, Remote]) -> Definition:
        """Number the steps that a target needs; nothing, as scratch is, is none, nor is an output of another step."""
        found = walk((target,))
        vertices = tuple(each for each in found if not isinstance(each.op, ScratchOp | OutputOp))
        return Definition(vertices=vertices, target=target, hiding=hiding, remote=remote)

    @property
    def numbers(self) -> dict[Digest, int]:
        """The number of each step by its digest."""
        return {vertex.digest: number for number, vertex in enumerate(self.vertices)}

    def build_config(self) -> JSONObject:
        """Return `buildConfig`: all steps, the last of which stands for the result."""
        numbers = self.numbers
        steps = [self._step(vertex, numbers) for vertex in self.vertices]
        last: JSONObject = {"id": f"step{len(steps)}", "op": {"Op": {}}}
        if not isinstance(self.target.op, ScratchOp):
            last["inputs"] = [_output(self.target, numbers)]
        mapping = {digest: f"step{number}" for digest, number in numbers.items()}
        end = sha256(compact({"result": self.target.digest}))
        return {
            "llbDefinition": [*steps, last],
            "digestMapping": dict(sorted({**mapping, end: f"step{len(steps)}"}.items())),
        }

    def _step(self, vertex: Vertex, numbers: Mapping[Digest, int]) -> JSONObject:
        inputs = Inputs(vertex.inputs)
        op: JSONObject = {"Op": self._op(vertex, inputs)}
        if isinstance(vertex.op, ImageOp | ExecOp):
            op["platform"] = platform_form(vertex.op.platform)
        op["constraints"] = {}
        step: JSONObject = {"id": f"step{numbers[vertex.digest]}", "op": op}
        if inputs.kept:
            step["inputs"] = [_output(each, numbers) for each in inputs.kept]
        return step

    def _op(self, vertex: Vertex, inputs: Inputs) -> JSONObject:
        match vertex.op:
            case ExecOp() as op:
                return {"exec": exec_form(op, inputs, self.hiding)}
            case FileOp() as op:
                return {"file": {"actions": actions_form(op, inputs, self.hiding)}}
            case MergeOp() | DiffOp() as op:
                return _joined(op, inputs, len(vertex.inputs))
            case LocalOp() as op if op.name not in self.remote:
                return {"source": _local(op, self._followed(vertex))}
            case ScratchOp() | OutputOp():
                return {}
            case found:
                source = self.remote[found.name] if isinstance(found, LocalOp) else found
                return {"source": self._source(source)}

    def _followed(self, context: Vertex) -> list[str]:
        """Return what steps take from a build context, nothing if one takes all of it."""
        paths: set[str] = set()
        for vertex in self.vertices:
            for number, source in enumerate(vertex.inputs):
                if source.digest == context.digest:
                    paths.update(_taken(vertex, number))
        return [] if "" in paths else sorted(paths)

    def _source(self, op: ImageOp | Remote) -> JSONObject:
        if isinstance(op, ImageOp):
            digest = op.root or op.digest
            scheme = "" if op.reference.startswith(LAYOUT_SCHEME) else IMAGE_SCHEME
            pin = "" if op.reference.endswith(digest) else f"@{digest}"
            return {"identifier": f"{scheme}{op.reference}{pin}"}
        if isinstance(op, HttpOp):
            attributes = full({"http.checksum": op.checksum, "http.filename": op.filename})
            return {"identifier": self.hiding.text(op.url), "attrs": attributes}
        return self._repository(op)

    def _repository(self, op: GitOp) -> JSONObject:
        place = op.remote.partition("://")[2] or op.remote
        place = place.rpartition("@")[2].replace(":", "/", 1) if "://" not in op.remote else place
        fragment = f"#{op.ref}{f':{op.subdir}' if op.subdir else ''}"
        is_web = op.remote.startswith(("http://", "https://"))
        attributes = {
            "git.authheadersecret": "GIT_AUTH_HEADER" if is_web else "",
            "git.authtokensecret": "GIT_AUTH_TOKEN" if is_web else "",
            "git.checksum": op.checksum,
            "git.fullurl": self.hiding.text(op.remote),
            "git.keepgitdir": "true" if op.keep_git_dir else "",
            "git.skipsubmodules": "" if op.submodules else "true",
        }
        identifier = f"git://{place.rpartition('@')[2]}{fragment if fragment != '#' else ''}"
        return {"identifier": identifier, "attrs": full(attributes)}

    # --- what lies beside the steps ---

    def locations(self) -> JSONObject:
        """Return where each step stands in the Dockerfile."""
        return {f"step{number}": _place(vertex) for number, vertex in enumerate(self.vertices)}

    def layers(self, layers: Sequence[Descriptor]) -> JSONObject:
        """Return the layers of the result after each step on the way to it; nothing where that can't be told."""
        counts: dict[Digest, int] = {}
        for vertex in walk((self.target,)):
            counts[vertex.digest] = _count(vertex, counts)
        if counts[self.target.digest] != len(layers):
            return {}
        told: JSONObject = {}
        numbers = self.numbers
        way = [self.target]
        while way[-1].inputs:
            way.append(way[-1].inputs[0])
        for vertex in way:
            chain = [each.to_json() for each in layers[: counts[vertex.digest]]]
            if chain and vertex.digest in numbers:
                told[f"step{numbers[vertex.digest]}:0"] = [chain]
        return dict(sorted(told.items()))


def _joined(op: MergeOp | DiffOp, inputs: Inputs, count: int) -> JSONObject:
    each = [full({"input": inputs.index(number)}) for number in range(count)]
    if isinstance(op, DiffOp):
        return {"diff": {"lower": each[0], "upper": each[1]}}
    return {"merge": {"inputs": each}}


def _output(vertex: Vertex, numbers: Mapping[Digest, int]) -> str:
    """Return what an input is called: a step, and which output of it."""
    if isinstance(vertex.op, OutputOp):
        return f"step{numbers[vertex.inputs[0].digest]}:{vertex.op.number}"
    return f"step{numbers[vertex.digest]}:0"


def _count(vertex: Vertex, counts: Mapping[Digest, int]) -> int:
    if isinstance(vertex.op, ImageOp):
        return len(vertex.op.diff_ids)
    if isinstance(vertex.op, MergeOp):
        return sum(counts[each.digest] for each in vertex.inputs)
    is_step = isinstance(vertex.op, ExecOp | FileOp)
    return counts[vertex.inputs[0].digest] + 1 if is_step else 0


def _place(vertex: Vertex) -> JSONObject:
    if vertex.location is None or isinstance(vertex.op, LocalOp):
        return {}
    place = {"start": {"line": vertex.location.start}, "end": {"line": vertex.location.end}}
    return {"locations": [{"ranges": [place]}]}


def _local(op: LocalOp, followed: list[str]) -> JSONObject:
    attributes = {} if op.source else {_CONTEXT_HINTS: op.name}
    if followed:
        attributes["local.followpaths"] = compact(followed).decode()
    told: JSONObject = {"identifier": f"local://{op.source or op.name}"}
    return {**told, "attrs": dict(sorted(attributes.items()))} if attributes else told


def _taken(vertex: Vertex, number: int) -> list[str]:
    """Return what a step takes from its input of that number, "" for all."""
    if isinstance(vertex.op, FileOp):
        return [
            source.strip("/")
            for action in vertex.op.actions
            if isinstance(action, CopyAction) and action.input == number
            for source in action.sources
        ]
    if isinstance(vertex.op, ExecOp):
        return [
            mount.source.strip("/")
            for mount in vertex.op.mounts
            if isinstance(mount, BindMount) and mount.input == number
        ]
    return [""]
