"""Sources as LLB: images, layouts, files of web servers, repositories, and directories of the client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.buildkit.llb.numbers import SOURCE
from polyarch.buildkit.llb.writing import Written
from polyarch.buildkit.messages import pairs
from polyarch.golang.json import compact
from polyarch.graph.op import GitOp, HttpOp, ImageOp, LocalOp, Op
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.text.giturl import parse_git_url
from polyarch.wire import field

__all__ = ["Offer", "source_op"]

_LOCALS = "local://"
_OF_LAYOUTS = "docker.io/library/layout"
"""What images of layouts are called: the name says nothing, only the digest counts."""


@frozen
class Offer:
    """What a daemon may have from here.

    `excludes` are patterns for what is left out of directories, by name; `reads` the paths that are read of them, () for
    all. `commits` are those that are no directories but commits, which the daemon fetches by itself. `stores` are the IDs of
    stores of content, by the addresses of layouts.
    """

    excludes: Mapping[str, Sequence[str]] = record_field(default_factory=dict)
    reads: Mapping[str, Sequence[str]] = record_field(default_factory=dict)
    commits: Mapping[str, GitOp] = record_field(default_factory=dict)
    stores: Mapping[str, str] = record_field(default_factory=dict)


def source_op(op: Op, offer: Offer) -> Written:
    """Return the op of a source."""
    match op:
        case ImageOp():
            return _image(op, offer)
        case LocalOp():
            return _local(op, offer)
        case HttpOp():
            return _http(op)
        case GitOp():
            return _git(op)
    raise AssertionError(op)


def _image(op: ImageOp, offer: Offer) -> Written:
    """Return the op of an image, by the digest that it was found to have."""
    if op.reference.startswith(LAYOUT_SCHEME):
        attributes = {"oci.store": offer.stores[op.reference]}
        return _source(f"{LAYOUT_SCHEME}{_OF_LAYOUTS}@{op.digest}", attributes, "source.ocilayout")
    digest = op.root or op.digest
    pinned = op.reference if op.reference.endswith(digest) else f"{op.reference}@{digest}"
    return _source(f"{IMAGE_SCHEME}{pinned}")


def _local(op: LocalOp, offer: Offer) -> Written:
    """Return the op of a context: a commit, or as little of a directory of the client's as is read."""
    if op.name in offer.commits:
        return _git(offer.commits[op.name])
    attributes = {"local.sharedkeyhint": op.name}
    for name, values in (
        ("local.excludepatterns", offer.excludes.get(op.name, ())),
        ("local.followpaths", offer.reads.get(op.name, ())),
    ):
        if values:
            attributes[name] = compact(list(values)).decode()
    return _source(f"{_LOCALS}{op.name}", attributes)


def _http(op: HttpOp) -> Written:
    """Return the op of a file of a web server."""
    attributes = {"http.filename": op.filename}
    needs = []
    if op.checksum:
        attributes["http.checksum"] = op.checksum
    if op.auth_secret:
        attributes["http.authheadersecret"] = op.auth_secret
        needs.append("source.http.auth")
    for name, value in op.headers:
        attributes[f"http.header.{name.lower()}"] = value
        needs.append("source.http.header")
    return _source(op.url, attributes, *needs)


def _git(op: GitOp) -> Written:
    """Return the op of a commit. The daemon fetches it by the client's secrets and agents."""
    url = parse_git_url(op.remote)
    fragment = f"#{op.ref}" if op.ref or op.subdir else ""
    if op.subdir:
        fragment += f":{op.subdir}"
    told = {
        "git.checksum": (op.checksum, "source.git.checksum"),
        "git.keepgitdir": ("true" if op.keep_git_dir else "", "source.git.keepgitdir"),
        "git.skipsubmodules": ("" if op.submodules else "true", "source.git.skipsubmodules"),
        "git.mtime": (op.mtime, "source.git.mtime"),
        "git.fetchbycommit": (
            "true" if op.fetch_by_commit else "",
            "source.git.fetchbycommit",
        ),
        "git.mountsshsock": ("default" if url.scheme == "ssh" else "", "source.git.mountsshsock"),
    }
    attributes = {
        "git.fullurl": op.remote,
        "git.authtokensecret": "GIT_AUTH_TOKEN",
        "git.authheadersecret": "GIT_AUTH_HEADER",
        **{name: value for name, (value, _) in told.items() if value},
    }
    needs = [need for value, need in told.values() if value]
    identifier = f"git://{url.host}/{url.path.lstrip('/')}{fragment}"
    return _source(identifier, attributes, *needs)


def _source(identifier: str, attributes: Mapping[str, str] | None = None, *needs: str) -> Written:
    message = field(1, identifier) + pairs(2, attributes or {})
    return Written(kind=SOURCE, message=message, needs=frozenset(needs))
