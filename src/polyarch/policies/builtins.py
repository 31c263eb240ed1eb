"""Functions that policies of sources have beside Rego's own: docker buildx's."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polyarch.digest import parse_digest
from polyarch.errors import InputError, NotFound
from polyarch.golang.json import read_json
from polyarch.policies.gitobject import GitObject, parse_object
from polyarch.policies.inputs import Input
from polyarch.policies.openpgp import Detached, Unsigned
from polyarch.policies.sshsig import is_signed_by
from polyarch.policies.told import Told
from polyarch.rego.context import Host
from polyarch.rego.undefined import UNDEFINED
from polyarch.rego.values import Obj, Wanted, equal, from_plain

__all__ = ["ARITIES", "Builtins", "NeedsChecksum", "NotThere"]

ARITIES: Mapping[str, int] = {
    "artifact_attestation": 2,
    "github_attestation": 2,
    "load_json": 1,
    "pin_image": 2,
    "verify_git_signature": 2,
    "verify_http_pgp_signature": 3,
}
_LARGEST_JSON = 4 << 20
_LARGEST_KEY = 512 << 10


class NeedsChecksum(Exception):
    """Another digest of a file is needed: `wanted` is its algorithm, and what it is of behind the file."""

    def __init__(self, wanted: tuple[str, bytes]) -> None:
        super().__init__(wanted[0])
        self.wanted = wanted


class NotThere(InputError):
    """A function that polyarch doesn't have."""


class Builtins:
    """The functions of one evaluation; `pins` are the digests that images are to have."""

    def __init__(
        self,
        given: Input,
        told: Told,
        read: Callable[[str], bytes],
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.value = given.value()
        self.pins: set[str] = set()
        self._told = told
        self._read = read
        self._note = note
        self._loaded: dict[str, object] = {}

    def host(self) -> Host:
        """Return the functions for an evaluation."""
        functions: dict[str, Callable[..., object]] = {
            "load_json": self._load_json,
            "pin_image": self._pin_image,
            "verify_git_signature": self._git_signature,
            "verify_http_pgp_signature": self._pgp_signature,
            "artifact_attestation": lambda http, _name: self._attestation(
                "artifact_attestation", http
            ),
            "github_attestation": lambda http, _repo: self._attestation("github_attestation", http),
        }
        return {
            name: (ARITIES[name], self._guarded(name, each)) for name, each in functions.items()
        }

    def _guarded(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        """Return a function whose failures are logged: its result is undefined then, as with buildx."""

        def guarded(*given: object) -> object:
            try:
                return function(*given)
            except NotThere:
                raise
            except Unsigned as error:
                self._note(f"{name}: {error}")
            except InputError as error:
                self._note(str(error))
            return UNDEFINED

        return guarded

    def _field(self, name: str) -> Obj | None:
        """Return the input's field for a kind of source, None if it is another kind."""
        found = self.value.get(name)
        return found if isinstance(found, Obj) else None

    def _file(self, function: str, path: object, most: int) -> bytes:
        if not isinstance(path, str):
            raise InputError(f"{function}: expected string path")
        try:
            data = self._read(path)
        except NotFound as error:
            raise InputError(f"{function}: {error}", hint=error.hint) from None
        if len(data) > most:
            raise InputError(f"{function}: {path} has more than {most} bytes")
        return data

    def _load_json(self, path: object) -> object:
        name = str(path)
        if name not in self._loaded:
            data = self._file("load_json", path, _LARGEST_JSON)
            try:
                self._loaded[name] = from_plain(read_json(data))
            except ValueError as error:
                raise InputError(f'load_json: invalid JSON in "{name}": {error}') from None
        return self._loaded[name]

    def _pin_image(self, image: object, digest: object) -> object:
        own = self._field("image")
        if own is None:
            return False
        _require_same("pin_image", image, own, "input image")
        if not isinstance(digest, str):
            raise InputError("pin_image: expected string digest")
        wanted = parse_digest(digest)
        # Whether it has it already is no reason to find out what it has.
        if "checksum" in own.pending or own.get("checksum") != wanted:
            self.pins.add(wanted)
        return True

    def _git_signature(self, subject: object, path: object) -> object:
        own = self._field("git")
        if own is None:
            return False
        if "commit" in own.pending:
            raise Wanted("git.commit")
        kind = next(
            (
                name
                for name in ("commit", "tag")
                if own.has(name) and _is_same(subject, own.get(name))
            ),
            None,
        )
        if kind is None:
            raise InputError("verify_git_signature: object is neither commit nor tag")
        keys = self._file("verify_git_signature", path, _LARGEST_KEY)
        git = self._told.git
        assert git is not None
        raw, digest = (
            (git.commit_object, git.commit or git.checksum)
            if kind == "commit"
            else (git.tag_object, git.checksum)
        )
        return _is_signed(parse_object(raw, digest), keys)

    def _pgp_signature(self, http: object, signature: object, path: object) -> object:
        own = self._field("http")
        if own is None:
            return False
        _require_same("verify_http_pgp_signature", http, own, "input http")
        name = "verify_http_pgp_signature"
        detached = Detached.read(self._file(name, signature, _LARGEST_KEY))
        keys = self._file(name, path, _LARGEST_KEY)
        told = self._told.http
        if told is None or not told.signed or told.suffix != detached.suffix:
            raise NeedsChecksum((detached.algorithm, detached.suffix))
        return detached.is_by(keys, told.signed)

    def _attestation(self, function: str, http: object) -> object:
        own = self._field("http")
        if own is None:
            return UNDEFINED
        _require_same(function, http, own, "input http")
        raise NotThere(
            f"{function} isn't there yet: attestations of files can't be verified",
            hint="verify a signature of the file by verify_http_pgp_signature, or compare input.http.checksum",
        )


def _require_same(function: str, given: object, own: Obj, name: str) -> None:
    if not _is_same(given, own):
        raise InputError(f"{function}: first argument is not the same as {name}")


def _is_same(given: object, own: object) -> bool:
    return given is own or equal(given, own)


def _is_signed(found: GitObject, keys: bytes) -> bool:
    """Tell whether a commit or a tag is signed by a key. Raises Unsigned."""
    if not found.signature:
        raise Unsigned("git object is not signed")
    if "SSH SIGNATURE" in found.signature.partition("\n")[0]:
        return is_signed_by(found.signature, found.signed, keys)
    detached = Detached.read(found.signature.encode("utf-8", "surrogateescape"))
    return detached.is_by(keys, detached.digest_of(found.signed))
