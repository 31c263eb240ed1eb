"""The input of a policy: what a source is, by its address and by what was found out.

Fields that nobody has found out yet are *pending*: they are there, and asking for one raises Wanted. The order of fields, and
which are left out when they are empty, are those of docker buildx.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, urlsplit

from polyarch.errors import InputError
from polyarch.oci.base import IMAGE_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.pattern import pattern
from polyarch.platforms import Platform
from polyarch.policies.gitobject import GitObject, actor, parse_object
from polyarch.policies.provenance import find_provenance
from polyarch.policies.signatures import signature_of
from polyarch.policies.told import Source, Told, ToldImage
from polyarch.record import frozen
from polyarch.rego.values import Obj, from_plain
from polyarch.text.giturl import parse_git_url

__all__ = ["Env", "Input", "input_of", "told_fields"]

_CONFIG = ("labels", "user", "volumes", "workingDir", "env")
_CHAIN = ("hasProvenance", "provenance", "signatures")
_COMMIT = pattern(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_TRANSPORT = pattern(r"[a-zA-Z0-9]+://|[A-Za-z0-9._-]+@[^:/]+:")
JSON = dict[str, object]


@frozen
class Env:
    """What a policy is told of the build. Without `filename` there is no build."""

    args: Mapping[str, str]
    labels: Mapping[str, str]
    filename: str = ""
    target: str = ""

    def plain(self, *, for_caps: bool = False) -> JSON:
        """Return the field `env`."""
        told = {
            "args": dict(sorted(self.args.items())),
            "labels": dict(sorted(self.labels.items())),
            "filename": self.filename,
            "target": self.target,
            "capsRequest": for_caps,
        }
        return {**told_fields(told), "depth": 0}


@frozen
class Input:
    """An input: its fields as JSON has them, and the paths of those that are pending."""

    fields: JSON
    pending: tuple[str, ...] = ()

    def value(self) -> Obj:
        """Return what rules see."""
        made = {
            name: Obj(
                _pairs(each),
                {
                    path.partition(".")[2]: path
                    for path in self.pending
                    if path.partition(".")[0] == name
                },
            )
            if isinstance(each, dict)
            else from_plain(each)
            for name, each in self.fields.items()
        }
        return Obj(made.items())


def _pairs(fields: JSON) -> Iterable[tuple[object, object]]:
    return [(name, from_plain(each)) for name, each in fields.items()]


def told_fields(fields: JSON) -> JSON:
    """Return the fields that say something: neither empty nor false."""
    return {
        name: each for name, each in fields.items() if each not in ("", None, False, {}, [], ())
    }


def input_of(source: Source, told: Told, env: Env | None = None) -> Input:
    """Return the input for a source. Raises InputError, IntegrityError."""
    scheme, found, rest = source.identifier.partition("://")
    if not found:
        raise InputError(f"invalid source identifier: {source.identifier}")
    fields: JSON = {"env": (env or Env(args={}, labels={})).plain()}
    if scheme in {"http", "https"}:
        field, pending = _http(source, scheme, told)
        return Input(fields={**fields, "http": field}, pending=pending)
    if scheme == "git":
        field, pending = _git(source, rest, told)
        return Input(fields={**fields, "git": field}, pending=pending)
    if scheme == "docker-image":
        field, pending = _image(source, told.image)
        return Input(fields={**fields, "image": field}, pending=pending)
    if scheme == "local":
        return Input(fields={**fields, "local": told_fields({"name": rest})})
    raise InputError(f"unsupported source scheme: {scheme}")


# --- files of web servers ---


def _http(source: Source, scheme: str, told: Told) -> tuple[JSON, tuple[str, ...]]:
    parts = urlsplit(source.identifier)
    checksum = told.http.checksum if told.http is not None else ""
    fields = told_fields(
        {
            "url": source.identifier,
            "schema": scheme,
            "host": parts.netloc.rpartition("@")[2],
            "path": parts.path,
            "query": parse_qs(parts.query, keep_blank_values=True),
            "hasAuth": "http.authheadersecret" in source.attributes,
            "checksum": checksum,
        }
    )
    return fields, () if checksum else ("http.checksum",)


# --- repositories ---


def _git(source: Source, address: str, told: Told) -> tuple[JSON, tuple[str, ...]]:
    full = source.attributes.get("git.fullurl", "")
    url = parse_git_url(_with_transport(address))
    ref, subdir = url.ref or "", posixpath.normpath(url.subdir or ".")
    if full:
        full = _with_transport(full)
        url = parse_git_url(full)
    is_commit = _COMMIT.fullmatch(ref) is not None
    fields: JSON = {
        "schema": url.scheme,
        "host": url.host,
        "remote": url.remote,
        "fullURL": full,
        "tagName": _below("refs/tags/", ref),
        "branch": _below("refs/heads/", ref),
        "ref": "",
        "subDir": "" if subdir in {"/", "."} else subdir,
        "isCommitRef": is_commit,
        "isSHA256": False,
        "checksum": ref if is_commit else "",
        "commitChecksum": ref if is_commit else "",
        "isAnnotatedTag": False,
        "tag": None,
        "commit": None,
    }
    pending = _git_pending(fields, ref) if told.git is None else _add_git(fields, told)
    fields["isSHA256"] = len(str(fields["checksum"])) == 64
    return told_fields(fields), tuple(f"git.{each}" for each in pending)


def _with_transport(address: str) -> str:
    return address if _TRANSPORT.match(address) else f"https://{address}"


def _below(prefix: str, ref: str) -> str:
    return ref.removeprefix(prefix) if ref.startswith(prefix) else ""


def _git_pending(fields: JSON, ref: str) -> list[str]:
    found = ["tag", "commit"]
    if fields["tagName"] or fields["branch"] or fields["isCommitRef"]:
        fields["ref"] = ref
    else:
        found = ["tagName", "branch", "ref", *found]
    if not fields["checksum"]:
        found = [*found, "checksum", "isAnnotatedTag", "commitChecksum", "isSHA256"]
    return found


def _add_git(fields: JSON, told: Told) -> list[str]:
    git = told.git
    assert git is not None
    fields.update(
        ref=git.ref,
        tagName=_below("refs/tags/", git.ref) or fields["tagName"],
        branch=_below("refs/heads/", git.ref) or fields["branch"],
        checksum=git.checksum,
        commitChecksum=git.commit or git.checksum,
        isAnnotatedTag=bool(git.commit) and git.commit != git.checksum,
    )
    if not git.commit_object:
        return ["commit", "tag"]
    fields["commit"] = _commit(parse_object(git.commit_object, git.commit or git.checksum))
    if git.tag_object:
        fields["tag"] = _tag(parse_object(git.tag_object, git.checksum))
    return []


def _commit(found: GitObject) -> JSON:
    return told_fields(
        {
            "tree": found.first("tree"),
            "parents": found.headers.get("parent", []),
            "author": actor(found.first("author")),
            "committer": actor(found.first("committer")),
            "message": found.message,
            **signature_of(found.signature),
        }
    )


def _tag(found: GitObject) -> JSON:
    return told_fields(
        {
            "object": found.first("object"),
            "type": found.first("type"),
            "tag": found.first("tag"),
            "tagger": actor(found.first("tagger")),
            "message": found.message,
            **signature_of(found.signature),
        }
    )


# --- images ---


def _image(source: Source, told: ToldImage | None) -> tuple[JSON, tuple[str, ...]]:
    name = parse_reference(source.identifier.removeprefix(IMAGE_SCHEME))
    if source.platform is None:
        raise InputError("platform required for image source")
    fields: JSON = {
        "ref": str(name),
        "host": name.domain,
        "repo": name.familiar_name,
        "fullRepo": name.repository,
        "tag": name.tag or "",
        **_platform(source.platform),
        "isCanonical": name.digest is not None,
        "checksum": name.digest or "",
    }
    if told is None:
        pending = [*([] if name.digest else ["checksum"]), *_CONFIG, *_CHAIN]
    else:
        fields["checksum"] = told.digest
        pending = _add_config(fields, told.config) + _add_chain(fields, told)
    return told_fields(fields), tuple(f"image.{each}" for each in pending)


def _platform(platform: Platform) -> JSON:
    return {
        "platform": str(platform),
        "os": platform.os,
        "arch": platform.architecture,
        "variant": platform.variant,
    }


def _add_config(fields: JSON, document: object) -> list[str]:
    if not isinstance(document, dict):
        return list(_CONFIG)
    config = document.get("config")
    config = config if isinstance(config, dict) else {}
    fields.update(
        createdTime=_seconds(document.get("created")),
        env=config.get("Env") or [],
        labels=config.get("Labels") or {},
        user=config.get("User") or "",
        volumes=sorted(config.get("Volumes") or {}),
        workingDir=config.get("WorkingDir") or "",
    )
    return []


def _seconds(created: object) -> str:
    """Return a time without the parts of its second."""
    text = created if isinstance(created, str) else ""
    whole, dot, rest = text.partition(".")
    return whole + rest.lstrip("0123456789") if dot else text


def _add_chain(fields: JSON, told: ToldImage) -> list[str]:
    chain = told.chain
    if chain is None:
        return list(_CHAIN)
    fields["hasProvenance"] = chain.has_attestations
    if chain.statements is None:
        return ["provenance", "signatures"]
    fields["provenance"] = find_provenance(chain.statements)
    fields["hasProvenance"] = chain.has_attestations or bool(fields["provenance"])
    return ["signatures"]
