"""The distribution spec v1.1, operation by operation: what a registry is asked, and what its answers mean.

A repository is written `domain/path`, as `Reference.repository` is. Each operation has one budget of
attempts (see `http.retry`), whatever it is made of. No `GET /v2/` comes first: it would cost a round trip and tell nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urljoin

from polyarch.digest import Digest, parse_digest, sha256
from polyarch.errors import InvalidDigest, NotFound, RegistryError, RemoteError
from polyarch.golang.json import compact
from polyarch.http.retry import Attempts, Pause, passes, pause_unless_cancelled
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.media import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, is_index
from polyarch.oci.reference import Reference
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.registry.answers import check_bytes, check_tagged, find_told, kind_of, next_page
from polyarch.registry.referring import listed, referrers_tag
from polyarch.registry.refusals import keeps_tags, refusal, told_of_tag
from polyarch.registry.transport import OpenBody, Request, Response, Transport
from polyarch.registry.upload import PIECE, STORED, Blob, Upload

if TYPE_CHECKING:
    from polyarch.registry.growing import Growing

__all__ = ["Client"]

_ANY_MANIFEST = f"{DOCKER_MANIFEST}, {DOCKER_INDEX}, {OCI_MANIFEST}, {OCI_INDEX}, */*"
_HEADS = 4
_PROGRESS = 1 << 20
"""An attempt at a blob that brought as many bytes was worth it: the next one counts as the first."""
_PAGES = 100
"""Of a list of referrers: a registry could have it go on without end."""


class Client:
    """Speaks to registries. Safe to use from many threads."""

    def __init__(
        self,
        transport: Transport,
        cancel: CancelToken,
        *,
        pause: Pause = pause_unless_cancelled,
        piece: int = PIECE,
    ) -> None:
        """`piece` is how many bytes of a broken upload go in one request."""
        self._transport = transport
        self._cancel = cancel
        self._pause = pause
        self._piece = piece
        # Two that write the same tag of referrers at once would lose one.
        self._tagging = threading.Lock()

    @property
    def is_offline(self) -> bool:
        """Whether no registry is asked."""
        return self._transport.is_offline

    @contextmanager
    def trusting(self, domain: str) -> Iterator[Client]:
        """Give a client that believes a registry, whatever it speaks and whatever certificate it shows."""
        with self._transport.trusting(domain) as transport:
            yield Client(transport, self._cancel, pause=self._pause, piece=self._piece)

    def log_in(self, domain: str) -> None:
        """Ask a registry for its front page, as somebody whom it has to know. Raises RegistryError."""
        request = Request(method="GET", domain=domain, path="", scopes=())
        response = self._send(request, self._attempts())
        if passes(response.status):
            raise refusal(response, request, f"log in at {domain}")
        response.close()
        if response.status != 200:
            raise RegistryError(
                f"Get {response.url}: unauthorized: status {response.status}",
                hint="check the user and the password",
                status=response.status,
            )

    def head_manifest(self, reference: Reference) -> Descriptor | None:
        """Return what a name stands for, or None if there is no such thing. Raises RegistryError."""
        request = self._manifest("HEAD", reference.repository, reference.target, _ANY_MANIFEST)
        attempts = Attempts(self._cancel, self._pause, limit=_HEADS)
        response = self._send(request, attempts)
        response.close()
        if response.status == 404:
            return None
        if (told := find_told(response, reference)) is not None:
            return told
        # Some answer HEAD with less than asked for, or not at all; a refusal has its text in GET only.
        attempts.allow(1)
        try:
            data, media_type, found = self._get_manifest(reference, reference.target, attempts)
        except NotFound:
            return None
        return Descriptor(media_type=media_type, digest=found, size=len(data))

    def get_manifest(self, reference: Reference, target: str) -> tuple[bytes, str, Digest]:
        """Return a manifest or index by its tag or digest: the bytes, their type and their digest.

        Raises NotFound, RegistryError, IntegrityError if the bytes aren't those of the digest.
        """
        return self._get_manifest(reference, target, self._attempts())

    def _get_manifest(
        self, reference: Reference, target: str, attempts: Attempts
    ) -> tuple[bytes, str, Digest]:
        request = self._manifest("GET", reference.repository, target, _ANY_MANIFEST)
        what = f"get the manifest of {reference.familiar}"
        response, data = self._document(request, what, attempts)
        digest = sha256(data)
        if ":" in target:
            digest = parse_digest(target)
            check_bytes(data, digest, response.url)
        else:
            check_tagged(response, data)
        return data, kind_of(response, data), digest

    def has_manifest(self, repository: str, digest: Digest) -> bool:
        """Return whether the repository has a manifest or index. Raises RegistryError."""
        return self._has(self._manifest("HEAD", repository, digest, _ANY_MANIFEST, pushes=True))

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Return whether the repository has a blob. Raises RegistryError."""
        return self._has(self._request("HEAD", repository, f"blobs/{digest}", pushes=True))

    def read_blob(self, repository: str, descriptor: Descriptor) -> Iterator[bytes]:
        """Give the bytes of a blob, unverified: the caller's writer does that.

        A broken connection is taken up where it broke. Raises NotFound, RegistryError.
        """
        attempts, done = self._attempts(), 0
        is_coded = False
        while True:
            attempts.begin()
            before = done
            try:
                # What is coded on the way has no ranges of the blob: it comes from its start again.
                response = self._open_blob(repository, descriptor, 0 if is_coded else done)
                is_coded = response.is_coded
                skip = 0 if response.status == 206 else done
                for chunk in response.stream():
                    self._cancel.check()
                    piece, skip = chunk[skip:], max(0, skip - len(chunk))
                    done += len(piece)
                    if piece:
                        yield piece
                return
            except RemoteError as error:
                if done - before >= _PROGRESS:
                    attempts.renew()
                attempts.wait(error)

    def _open_blob(self, repository: str, descriptor: Descriptor, start: int) -> Response:
        headers = {"Range": f"bytes={start}-"} if start else {}
        request = self._request("GET", repository, f"blobs/{descriptor.digest}")
        what = f"get the blob {descriptor.digest} of {repository}"
        return self._once(replace(request, headers=headers), what, {200, 206})

    def mount_blob(self, repository: str, digest: Digest, from_repository: str) -> bool:
        """Have a blob of another repository at the same registry; return whether that worked."""
        source = _split(from_repository)[1]
        query = urlencode({"mount": digest, "from": source})
        request = self._request("POST", repository, f"blobs/uploads/?{query}", pushes=True)
        scopes = (*request.scopes, f"repository:{source}:pull")
        try:
            response = self._send(replace(request, scopes=scopes), self._attempts())
        except RegistryError as error:
            if error.temporary:
                raise
            return False  # some give no token at all to who asks for more than they may have
        response.close()
        if response.status == 202 and (location := response.headers.get("Location")):
            # An upload was begun in its place. It is of no use to those who have no bytes to send, and
            # ends by itself where that can't be said.
            url = urljoin(response.url, location)
            with suppress(RemoteError):
                self._transport.send(replace(request, method="DELETE", path=url)).close()
        return response.status == 201

    def upload_blob(self, repository: str, digest: Digest, size: int, open_body: OpenBody) -> None:
        """Upload a blob of `size` bytes; one that breaks off goes on where it broke. Raises RegistryError.

        As with blobs that are read, an attempt that got on starts a new count.
        """
        begin = self._request("POST", repository, "blobs/uploads/", pushes=True)
        what = f"upload the blob {digest} to {repository}"
        blob = Blob(digest=digest, size=size, open_body=open_body)
        attempts = self._attempts()

        def send(request: Request, good: Collection[int]) -> Response:
            return self._once(request, what, good)

        with closing(Upload(send, begin, blob, self._piece)) as upload:
            while True:
                attempts.begin()
                try:
                    upload.attempt()
                    return
                except RemoteError as error:
                    if upload.gets_on():
                        attempts.renew()
                    attempts.wait(upload.reconsidered(error))

    def upload_growing(self, repository: str, blob: Growing) -> bool:
        """Upload a blob while it is made, once; return whether the repository didn't have it already.

        Raises RegistryError, NotFound, and what the blob raises.
        """
        # Few builds have such a blob.
        from polyarch.registry.growing import upload_growing  # noqa: PLC0415

        begin = self._request("POST", repository, "blobs/uploads/", pushes=True)

        def send(request: Request, good: Collection[int]) -> Response:
            return self._once(request, f"upload a layer to {repository}", good)

        return upload_growing(send, begin, blob, lambda digest: self.has_blob(repository, digest))

    def put_manifest(self, repository: str, target: str, data: bytes, media_type: str) -> Digest:
        """Store a manifest or index under a tag or its digest. Raises RegistryError.

        A registry that refuses to change a tag isn't wrong if the tag stands for just that already.
        """
        request, digest = self._put(repository, target, data, media_type), sha256(data)
        try:
            self._expect(request, f"put the manifest {target} into {repository}", STORED).close()
        except RegistryError as error:
            is_tag = ":" not in target
            known = self._tagged(repository, target) if is_tag and keeps_tags(error) else None
            if known is None:
                raise
            if known != digest:
                raise told_of_tag(error, target, known) from error
        return digest

    def _tagged(self, repository: str, tag: str) -> Digest | None:
        """Return what a tag stands for where images are pushed to, None if that isn't known."""
        request = self._manifest("HEAD", repository, tag, _ANY_MANIFEST, pushes=True)
        with suppress(RemoteError, InvalidDigest):
            response = self._transport.send(request)
            response.close()
            if response.status == 200:
                return parse_digest(response.headers.get("Docker-Content-Digest", ""))
        return None

    def _put(self, repository: str, target: str, data: bytes, media_type: str) -> Request:
        return replace(
            self._request("PUT", repository, f"manifests/{quote(target, safe=':')}", pushes=True),
            headers={"Content-Type": media_type},
            body=data,
        )

    def put_referrer(
        self, repository: str, referrer: Descriptor, data: bytes, subject: Digest
    ) -> None:
        """Store a manifest that is about another one, so that those who ask for that one's find it.

        Registries that know no such question keep the answer as an index under a tag of its own, which
        is the client's to write. Raises RegistryError. Source: distribution spec v1.1, "Pushing Manifests
        with Subject".
        """
        request = self._put(repository, referrer.digest, data, referrer.media_type)
        what = f"put the manifest {referrer.digest} into {repository}"
        response = self._expect(request, what, STORED)
        response.close()
        if response.headers.get("OCI-Subject"):
            return
        with self._tagging:
            known = self._tagged_referrers(repository, subject)
            if referrer.digest in {each.digest for each in known}:
                return
            manifests = [each.to_json() for each in (*known, listed(referrer, data))]
            index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
            self.put_manifest(repository, referrers_tag(subject), compact(index), OCI_INDEX)

    def referrers(self, repository: str, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one. Raises RegistryError, IntegrityError."""
        request = self._request("GET", repository, f"referrers/{subject}")
        request = replace(request, headers={"Accept": OCI_INDEX})
        what = f"get the referrers of {subject}"
        found: list[Descriptor] = []
        for _ in range(_PAGES):
            try:
                response, data = self._document(request, what, self._attempts())
            except (NotFound, RegistryError) as error:
                # Who doesn't know the question says so in many ways; whose server fails is asked nothing else.
                if found or (isinstance(error, RegistryError) and error.temporary):
                    raise
                return self._tagged_referrers(repository, subject)
            if kind_of(response, data) != OCI_INDEX:
                return self._tagged_referrers(repository, subject)
            found += parse_index(data).manifests
            following = next_page(response)
            if not following:
                break
            request = replace(request, path=following)
        return tuple(found)

    def _tagged_referrers(self, repository: str, subject: Digest) -> tuple[Descriptor, ...]:
        tag = referrers_tag(subject)
        request = self._manifest("GET", repository, tag, OCI_INDEX)
        try:
            what = f"get the referrers of {subject}"
            response, data = self._document(request, what, self._attempts())
        except NotFound:
            return ()
        return parse_index(data).manifests if is_index(kind_of(response, data)) else ()

    def _manifest(
        self, method: str, repository: str, target: str, accept: str, *, pushes: bool = False
    ) -> Request:
        request = self._request(method, repository, f"manifests/{target}", pushes=pushes)
        return replace(request, headers={"Accept": accept}, by_tag=":" not in target)

    def _request(self, method: str, repository: str, path: str, *, pushes: bool = False) -> Request:
        domain, name = _split(repository)
        actions = "pull,push" if pushes else "pull"
        return Request(
            method=method,
            domain=domain,
            path=f"{name}/{path}",
            scopes=(f"repository:{name}:{actions}",),
            repository=name,
            # What is to be pushed has to be in the registry itself, not in a mirror of it.
            reads=not pushes,
        )

    def _has(self, request: Request) -> bool:
        response = self._send(request, self._attempts())
        # Storage that is elsewhere, and small registries, don't all take a HEAD; who may not push hears it when the
        # upload begins.
        if response.status == 401 or passes(response.status):
            raise refusal(response, request, f"ask for {request.path}")
        response.close()
        return response.status == 200

    def _attempts(self) -> Attempts:
        return Attempts(self._cancel, self._pause)

    def _send(self, request: Request, attempts: Attempts) -> Response:
        """Return the answer, whatever its status; one that may pass only if it is the last."""
        return attempts.answer(
            lambda: self._transport.send(request),
            lambda response: refusal(response, request, f"ask for {request.path}"),
        )

    def _document(self, request: Request, what: str, attempts: Attempts) -> tuple[Response, bytes]:
        """Return a good answer with its body."""

        def once() -> tuple[Response, bytes]:
            response = self._once(request, what, {200})
            return response, response.read()

        return attempts.run(once)

    def _expect(self, request: Request, what: str, good: Collection[int]) -> Response:
        return self._attempts().run(lambda: self._once(request, what, good))

    def _once(self, request: Request, what: str, good: Collection[int]) -> Response:
        response = self._transport.send(request)
        if response.status not in good:
            raise refusal(response, request, what)
        return response


def _split(repository: str) -> tuple[str, str]:
    domain, _, path = repository.partition("/")
    return domain, path
