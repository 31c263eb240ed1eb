"""What a result was made of: images, repositories, files of web servers, directories of this machine.

They are found in the graph, and in what was fetched or resolved beside it. The rules, which image is left out as
another one stands for it among them, are those of BuildKit's `solver/llbsolver/provenance/capture.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from polyarch.attest.purl import image_url
from polyarch.digest import Digest
from polyarch.graph.graph import walk
from polyarch.graph.op import (
    ExecOp,
    GitOp,
    HttpOp,
    ImageOp,
    JSONObject,
    LocalOp,
    Op,
    SecretMount,
    SshMount,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import LAYOUT_SCHEME, BaseImage
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, normalize
from polyarch.record import field, frozen
from polyarch.text.secretname import without_login

__all__ = ["Remote", "Resolved", "Sources", "address", "digest_set", "find_sources", "for_platform"]

Remote = GitOp | HttpOp
_LOGINS = ("GIT_AUTH_HEADER", "GIT_AUTH_TOKEN")


@frozen
class Resolved:
    """An image that a name was resolved to: `digest` is what the name stands for, an index most often."""

    reference: str
    platform: Platform
    digest: Digest

    @staticmethod
    def of(image: BaseImage, platform: Platform) -> Resolved:
        """Return how an image was resolved."""
        return Resolved(
            reference=image.reference, platform=platform, digest=image.root or image.digest
        )


@frozen
class Sources:
    """What the result for one platform was made of.

    `remote` has what was fetched, with the commit or the digest that it was, and `taken` that of it which steps take
    something from; `local` are the names of directories of this machine. `secrets` and `ssh` say of each by its id whether steps can do without.
    """

    images: tuple[Resolved, ...] = ()
    remote: tuple[tuple[Remote, str], ...] = ()
    local: tuple[str, ...] = ()
    taken: frozenset[Remote] = frozenset()
    secrets: Mapping[str, bool] = field(default_factory=dict)
    ssh: Mapping[str, bool] = field(default_factory=dict)
    uses_network: bool = False

    def materials(self) -> list[JSONObject]:
        """Return them as SLSA has dependencies: images by name, repositories, files."""
        images: list[JSONObject] = [
            {
                "uri": image_url(image.reference, image.platform),
                "digest": digest_set(image.digest),
            }
            for image in sorted(self.images, key=lambda each: each.reference)
        ]
        return [*images, *self._of(GitOp), *self._of(HttpOp)]

    def _of(self, kind: type[GitOp | HttpOp]) -> list[JSONObject]:
        told: dict[str, JSONObject] = {}
        for op, pin in self.remote:
            if isinstance(op, kind):
                uri = address(op)
                told.setdefault(uri, {"uri": uri, "digest": digest_set(pin)})
        return [told[uri] for uri in sorted(told)]

    def is_taken(self, op: Remote) -> bool:
        """Tell whether steps take something from what was fetched."""
        return op in self.taken

    def find(self, op: Remote | None) -> str:
        """Return the commit or digest of something that was fetched, "" if it isn't among the sources."""
        return next((pin for each, pin in self.remote if each == op), "")


def address(op: Remote) -> str:
    """Return where something was fetched from, without a login."""
    if isinstance(op, HttpOp):
        return without_login(op.url)
    return without_login(op.remote) + (f"#{op.ref}" if op.ref else "")


def digest_set(pin: str) -> JSONObject:
    """Return the digest of a file, or the commit, as in-toto has them."""
    algorithm, colon, value = pin.rpartition(":")
    if colon:
        return {algorithm: value}
    return {"sha256" if len(pin) == 64 else "sha1": pin}


def find_sources(
    target: Vertex,
    resolved: Iterable[Resolved],
    pins: Mapping[Remote, str],
    contexts: Mapping[str, Remote],
) -> Sources:
    """Return what a target was made of.

    `resolved` are the images that names were resolved to, `pins` the commits and digests of what was fetched for this
    target; `contexts` says of build contexts by name what they were fetched from.
    """
    ops = [vertex.op for vertex in walk((target,))]
    steps = [op for op in ops if isinstance(op, ExecOp)]
    secrets, ssh = _lent(steps, pins)
    taken = _taken(ops, pins, contexts)
    local = {
        op.source or op.name for op in ops if isinstance(op, LocalOp) and op.name not in contexts
    }
    return Sources(
        images=_distinct([*resolved, *(_resolved(op) for op in ops if isinstance(op, ImageOp))]),
        remote=tuple((each, pins[each]) for each in dict.fromkeys((*taken, *pins))),
        local=tuple(sorted(local)),
        taken=frozenset(taken),
        uses_network=any(op.network != "none" for op in steps),
        secrets=secrets,
        ssh=ssh,
    )


def _taken(
    ops: Iterable[Op], pins: Mapping[Remote, str], contexts: Mapping[str, Remote]
) -> list[Remote]:
    """Return what of all that was fetched the ops take something from, be it as a build context."""
    named = (contexts.get(op.name) if isinstance(op, LocalOp) else op for op in ops)
    return [each for each in named if isinstance(each, GitOp | HttpOp) and each in pins]


def _lent(
    steps: Iterable[ExecOp], fetched: Iterable[Remote]
) -> tuple[dict[str, bool], dict[str, bool]]:
    """Return the secrets and the agents that steps and repositories have, and of each whether they can do without."""
    secrets: dict[str, bool] = {}
    ssh: dict[str, bool] = {}
    for op in steps:
        _note_step(op, secrets, ssh)
    for each in fetched:
        if isinstance(each, GitOp):
            _note_logins(each, secrets, ssh)
    return dict(sorted(secrets.items())), dict(sorted(ssh.items()))


def _resolved(op: ImageOp) -> Resolved:
    return Resolved(reference=op.reference, platform=op.platform, digest=op.root or op.digest)


def _note_step(op: ExecOp, secrets: dict[str, bool], ssh: dict[str, bool]) -> None:
    for mount in op.mounts:
        if isinstance(mount, SecretMount):
            secrets[mount.id] = secrets.get(mount.id, True) and not mount.required
        elif isinstance(mount, SshMount):
            name = mount.id or "default"
            ssh[name] = ssh.get(name, True) and not mount.required


def _note_logins(op: GitOp, secrets: dict[str, bool], ssh: dict[str, bool]) -> None:
    """Note what a repository may have been asked for with."""
    if op.remote.startswith(("http://", "https://")):
        for name in _LOGINS:
            secrets.setdefault(name, True)
    elif "@" in op.remote or op.remote.startswith("ssh://"):
        ssh.setdefault("default", True)


def for_platform(
    resolved: Sequence[Resolved], platform: Platform, platforms: Sequence[Platform]
) -> tuple[Resolved, ...]:
    """Return the images that may be in the result for `platform`, of a build for `platforms`.

    Of an image that was resolved for all of them, only that for this one is.
    """
    by_name: dict[str, set[tuple[str, str]]] = {}
    for image in resolved:
        by_name.setdefault(image.reference, set()).add(_machine(image.platform))
    wanted = set(map(_machine, platforms))
    mine = _machine(platform)
    return tuple(
        image
        for image in resolved
        if len(platforms) == 1
        or not wanted <= by_name[image.reference]
        or _machine(image.platform) == mine
    )


def _machine(platform: Platform) -> tuple[str, str]:
    return platform.os, platform.architecture


def _distinct(images: Iterable[Resolved]) -> tuple[Resolved, ...]:
    """Return images once each, and not by digest what is there by its tag."""
    unique = {(each.reference, str(normalize(each.platform))): each for each in images}
    named = {_tagged(each) for each in unique.values() if not _has_digest(each)}
    return tuple(
        each for each in unique.values() if not _has_digest(each) or _tagged(each) not in named
    )


def _has_digest(image: Resolved) -> bool:
    return "@" in image.reference and not image.reference.startswith(LAYOUT_SCHEME)


def _tagged(image: Resolved) -> str:
    if image.reference.startswith(LAYOUT_SCHEME):
        return image.reference
    parsed = parse_reference(image.reference)
    return f"{parsed.repository}:{parsed.tag or 'latest'}"
