"""Ops: what a vertex does, as values.

Every op can write itself as JSON in two forms. `definition` holds all that decides on what the worker does.
`cache_form` holds what decides whether an earlier result may stand in: it leaves out what may change
without changing the result's meaning (proxies, the addresses of extra hosts), and what names a source
but not its content. The platform is a field of an op only where it matters (image, exec), so that equal
work of two platforms is one vertex.

The number and meaning of a vertex's inputs follow from its op:

    ImageOp, LocalOp, HttpOp, GitOp, ScratchOp   none
    ExecOp       the root file system, then one for each mount that has a source
    FileOp       the tree that is changed, then one for each index that a copy names
    MergeOp      the trees, lowest first
    DiffOp       the tree below, then the one above
    OutputOp     an exec
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from polyarch.digest import DiffID, Digest
from polyarch.graph.actions import (
    CopyAction,
    FileAction,
    MkdirAction,
    MkfileAction,
    RmAction,
    SymlinkAction,
    action_cache_form,
    action_form,
)
from polyarch.oci.base import BaseImage
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform
from polyarch.record import asdict, field, frozen
from polyarch.request.limits import Resources, Ulimit

__all__ = [
    "SCRIPT_DIRECTORY",
    "BindMount",
    "CacheMount",
    "CopyAction",
    "DiffOp",
    "ExecMount",
    "ExecOp",
    "FileAction",
    "FileOp",
    "GitOp",
    "HttpOp",
    "ImageOp",
    "JSONObject",
    "LocalOp",
    "MergeOp",
    "MkdirAction",
    "MkfileAction",
    "Op",
    "OutputOp",
    "RmAction",
    "ScratchOp",
    "SecretMount",
    "Sharing",
    "SshMount",
    "SymlinkAction",
    "TmpfsMount",
]

JSONObject = dict[str, object]

SCRIPT_DIRECTORY = "/dev/pipes"
"""Where an exec sees its scripts."""


@frozen
class ScratchOp:
    """An empty root file system."""

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        return {"type": "scratch"}

    def cache_form(self) -> JSONObject:
        """What a cached result depends on."""
        return self.definition()


@frozen
class ImageOp:
    """An image from a registry or the local store, pinned to one manifest.

    `reference` is the canonical name it was asked for by; `digest` that of the manifest for
    `platform`; `diff_ids` are its layers, base first. `blobs` are their descriptors in the same order, and
    `source` is where these are to be had: a canonical reference, or the address of a layout. `root` is the
    index that the manifest was chosen from, if there was one: it may have the image for other platforms, too.
    """

    reference: str
    digest: Digest
    platform: Platform
    diff_ids: tuple[DiffID, ...]
    blobs: tuple[Descriptor, ...] = field(default=(), compare=False, repr=False)
    source: str = field(default="", compare=False)
    root: Digest | None = field(default=None, compare=False)

    @staticmethod
    def of(image: BaseImage, platform: Platform) -> ImageOp:
        """Return the op that takes an image that was resolved."""
        return ImageOp(
            reference=image.reference,
            digest=image.digest,
            platform=platform,
            diff_ids=image.diff_ids,
            blobs=image.blobs,
            source=image.source,
            root=image.root,
        )

    def definition(self) -> JSONObject:
        """What makes it the op that it is, as JSON: the digest of the manifest decides on the blobs."""
        return {
            "type": "image",
            "reference": self.reference,
            "digest": self.digest,
            "platform": asdict(self.platform),
            "diff_ids": self.diff_ids,
        }

    def cache_form(self) -> JSONObject:
        """What a cached result depends on: the file system, whatever it is called."""
        return {"type": "image", "diff_ids": self.diff_ids}


@frozen
class LocalOp:
    """A directory that the request names, read where it lies; `name` is that of the build context.

    `place` tells apart contexts of one name, where several requests are solved together. `source` is what a graph that
    came as it is calls a directory, which it may read in several ways, each under a name of its own.
    """

    name: str
    place: str = ""
    source: str = ""

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        whole: JSONObject = {"type": "local", "name": self.name}
        return {**whole, "place": self.place} if self.place else whole

    def cache_form(self) -> JSONObject:
        """What a cached result depends on. The content is looked at by whoever reads it."""
        return {"type": "local", "name": self.name}


@frozen
class HttpOp:
    """A file of a web server, as the only one of a tree, called `filename`.

    `checksum` is the digest that it must have, "" for any. `headers` are sent along; `auth_secret` is the secret that
    is sent as Authorization in place of that of the machine's name, "" for none.
    """

    url: str
    filename: str
    checksum: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    auth_secret: str = ""

    def definition(self) -> JSONObject:
        """Everything, as JSON; what few files have is left out of the others' (and of their keys)."""
        form: JSONObject = {"type": "http", **asdict(self)}
        for name in ("headers", "auth_secret"):
            if not form[name]:
                del form[name]
        return form

    def cache_form(self) -> JSONObject:
        """What a cached result depends on. The content is looked at by whoever reads it."""
        return self.definition()


@frozen
class GitOp:
    """A commit of a git repository as a tree.

    `ref` is a branch, a tag or a commit, "" for the repository's own choice; `checksum` is the beginning
    of the commit that it must lead to. `subdir` is the directory that becomes the root. `mtime` "commit"
    gives all files the time of the commit. `fetch_by_commit` asks for the commit that `checksum` names,
    whatever `ref` stands for by now.
    """

    remote: str
    ref: str = ""
    checksum: str = ""
    subdir: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    mtime: str = ""
    fetch_by_commit: bool = False

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        return {"type": "git", **asdict(self)}

    def cache_form(self) -> JSONObject:
        """What a cached result depends on. The content is looked at by whoever reads it."""
        return self.definition()


@frozen
class BindMount:
    """A part of another tree, mounted into an exec; `input` is the index of the vertex's input.

    What is written to one that isn't read-only is thrown away after the step, unless it is an `output` of it: the
    number by which an OutputOp takes it, from 1 on.
    """

    target: str
    input: int
    source: str = "/"
    read_only: bool = True
    output: int = 0


class Sharing(StrEnum):
    """What steps that have a cache mount at the same time see of one another."""

    LOCKED = "locked"
    PRIVATE = "private"
    SHARED = "shared"


@frozen
class CacheMount:
    """A directory that outlives the step, by `id`. `input` is where its first content comes from, if any."""

    target: str
    id: str
    sharing: Sharing = Sharing.SHARED
    read_only: bool = False
    input: int | None = None
    source: str = "/"
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@frozen
class TmpfsMount:
    """An empty file system in memory; `size` is in bytes, 0 for no limit of its own."""

    target: str
    size: int = 0
    read_only: bool = False


@frozen
class SecretMount:
    """A secret of the request, as a file at `target`, as the variable `env`, or both ("" for not)."""

    id: str
    target: str = ""
    env: str = ""
    required: bool = False
    mode: int = 0o400
    uid: int = 0
    gid: int = 0


@frozen
class SshMount:
    """The socket of an ssh agent of the request."""

    id: str
    target: str
    required: bool = False
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


ExecMount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount


@frozen
class ExecOp:
    """A process in a root file system; its changes are the result.

    `user` is as the Dockerfile has it (looked up in the root when it runs); `env` holds `NAME=value`
    in order; `scripts` are files, made from here-documents, that are mounted read-only for the step;
    `devices` are full names of CDI. `exit_codes` are those that are no failure, () for 0 alone.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str
    platform: Platform
    network: Literal["default", "none", "host"] = "default"
    security: Literal["sandbox", "insecure"] = "sandbox"
    hostname: str = ""
    mounts: tuple[ExecMount, ...] = ()
    scripts: tuple[tuple[str, str], ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0
    cgroup_parent: str = ""
    proxy_env: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    exit_codes: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        """How many mounts are results beside the root."""
        return sum(isinstance(each, BindMount) and each.output > 0 for each in self.mounts)

    def definition(self) -> JSONObject:
        """Everything, as JSON; what few steps have is left out of the others' (and of their keys)."""
        mounts = [_mount_form(mount) for mount in self.mounts]
        form: JSONObject = {"type": "exec", **asdict(self), "mounts": mounts}
        form["ulimits"] = [[each.name, each.soft, each.hard] for each in self.ulimits]
        del form["resources"]
        if self.resources != Resources():
            form["resources"] = asdict(self.resources)
        for name in ("devices", "exit_codes"):
            if not form[name]:
                del form[name]
        return form

    def cache_form(self) -> JSONObject:
        """What a cached result depends on: not the proxies, nor the addresses of extra hosts.

        Nor the limits of memory and processors, which a step that succeeds has kept.
        """
        form = self.definition()
        form.pop("resources", None)
        del form["proxy_env"]
        form["extra_hosts"] = [host for host, _ in self.extra_hosts]
        form["mounts"] = [_mount_cache_form(mount) for mount in self.mounts]
        return form


def _mount_form(mount: ExecMount) -> JSONObject:
    form: JSONObject = {"do": type(mount).__name__, **asdict(mount)}
    if isinstance(mount, BindMount) and not mount.output:
        del form["output"]
    return form


def _mount_cache_form(mount: ExecMount) -> JSONObject:
    """What a result depends on: of a cache only where it is, of a bind not what its part is called."""
    form = _mount_form(mount)
    if isinstance(mount, CacheMount):
        form = {"do": form["do"], "target": mount.target, "input": mount.input}
        namespace, _, name = mount.id.partition("/")
        if namespace and name == mount.target and mount.sharing is Sharing.SHARED:
            # As with BuildKit, where the namespace of caches counts as long as nothing else is given.
            form["id"] = mount.id
        return form
    if isinstance(mount, BindMount):
        del form["source"]
    if isinstance(mount, TmpfsMount) and not mount.read_only:
        del form["read_only"]
    return form


@frozen
class FileOp:
    """Changes to a tree by the builder itself, in order; together they are one layer."""

    actions: tuple[FileAction, ...]

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        return {"type": "file", "actions": [action_form(each) for each in self.actions]}

    def cache_form(self) -> JSONObject:
        """What a cached result depends on: of a source's path only its last part."""
        return {"type": "file", "actions": [action_cache_form(each) for each in self.actions]}


@frozen
class MergeOp:
    """The layers of all inputs on top of one another; those behind the first depend on nothing below."""

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        return {"type": "merge"}

    def cache_form(self) -> JSONObject:
        """What a cached result depends on."""
        return self.definition()


@frozen
class DiffOp:
    """What has to be done to one tree to make another of it, as layers: deletions are whiteouts."""

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        return {"type": "diff"}

    def cache_form(self) -> JSONObject:
        """What a cached result depends on."""
        return self.definition()


@frozen
class OutputOp:
    """The tree that a mount of an exec has become: output `number` of it."""

    number: int

    def definition(self) -> JSONObject:
        """Everything, as JSON."""
        return {"type": "output", "number": self.number}

    def cache_form(self) -> JSONObject:
        """What a cached result depends on."""
        return self.definition()


Op = ScratchOp | ImageOp | LocalOp | HttpOp | GitOp | ExecOp | FileOp | MergeOp | DiffOp | OutputOp
