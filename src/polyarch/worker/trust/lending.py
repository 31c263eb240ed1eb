"""What lets a step trust more CAs: the bundle of its root, and for programs that don't read it, variables that name files of ours.

    curl, wget, dnf, whatever reads the system's bundle   the bundle of the root, see `bundles`
    OpenSSL, Go, Rust, Ruby, PHP, Python's ssl            SSL_CERT_FILE
    pip, requests; git; cargo; apk; AWS's tools           variables of their own
    node and npm                                          NODE_EXTRA_CA_CERTS, which adds to what is built in
    apt                                                   APT_CONFIG, a file of settings
    java                                                  JAVA_TOOL_OPTIONS, a keystore of all CAs

The files have the CAs of the image, or of this machine where the image has none, and those that are added. The variables stand
below what a Dockerfile sets by the same names. The files lie where the system's own file systems are mounted, so no directory
is made for them. Neither files nor variables are a part of a step's cache key, as they change nothing of what it does.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from polyarch.runtime.step import Bind, Mount
from polyarch.worker.stepform import LOCKED
from polyarch.worker.trust.bundles import lending, read_bundle
from polyarch.worker.trust.keystore import PASSWORD, keystore
from polyarch.worker.trust.pem import certificates, encoded
from polyarch.worker.trust.trusted import Trusted

__all__ = ["lent"]

_PLACE = "/dev/.polyarch-ca"
_BUNDLE = f"{_PLACE}/bundle.pem"
_MORE = f"{_PLACE}/more.pem"
_APT = f"{_PLACE}/apt.conf"
_JAVA = f"{_PLACE}/java.jks"
_OF_BUNDLE = (
    "AWS_CA_BUNDLE",
    "BUNDLE_SSL_CA_CERT",
    "CARGO_HTTP_CAINFO",
    "COMPOSER_CAFILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NIX_SSL_CERT_FILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CA_CERT_FILE",
    "SSL_CERT_FILE",
)
"""Variables that name all CAs which a program trusts."""
_ADDING = ("DENO_CERT", "NODE_EXTRA_CA_CERTS")
"""Variables that name CAs which a program trusts beside its own."""
_JAVA_VARIABLE = "JAVA_TOOL_OPTIONS"


@contextmanager
def lent(
    more: Sequence[bytes], root: Path, directory: Path, env: Mapping[str, str]
) -> Iterator[Trusted]:
    """Have a step in `root` trust CAs, in DER form, for as long as the block lasts; `env` is what the step has.

    `directory` is one of this process, to which files are written.
    """
    mount = _write(read_bundle(root) or _of_machine(), more, directory / "ca")
    with lending(root, more):
        yield Trusted(mounts=(mount,), variables=_variables(env))


def _write(base: Sequence[bytes], more: Sequence[bytes], directory: Path) -> Mount:
    everyone = tuple(dict.fromkeys((*base, *more)))
    files = {
        _BUNDLE: encoded(everyone).encode(),
        _MORE: encoded(more).encode(),
        _APT: f'Acquire::https::CaInfo "{_BUNDLE}";\n'.encode(),
        _JAVA: keystore(everyone),
    }
    directory.mkdir()
    directory.chmod(0o755)
    for name, data in files.items():
        path = directory / Path(name).name
        path.write_bytes(data)
        path.chmod(0o644)  # every user of the step reads them, whatever the umask says
    return Bind(source=str(directory), target=_PLACE, read_only=True, flags=LOCKED)


def _variables(env: Mapping[str, str]) -> dict[str, str]:
    found = dict.fromkeys(_OF_BUNDLE, _BUNDLE) | dict.fromkeys(_ADDING, _MORE)
    found["APT_CONFIG"] = _APT
    java = {"trustStore": _JAVA, "trustStoreType": "JKS", "trustStorePassword": PASSWORD}
    found[_JAVA_VARIABLE] = " ".join(
        f"-Djavax.net.ssl.{name}={value}" for name, value in java.items()
    )
    return {name: value for name, value in found.items() if name not in env}


def _of_machine() -> tuple[bytes, ...]:
    """Return the CAs of this machine."""
    path = ssl.get_default_verify_paths().cafile
    if path is None:
        return ()
    try:
        return certificates(Path(path).read_text(encoding="latin-1"))
    except OSError:
        return ()
