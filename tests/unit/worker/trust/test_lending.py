"""What a step gets that trusts CAs of a company: files and variables."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.runtime.step import Bind
from polyarch.worker.trust.keystore import keystore
from polyarch.worker.trust.lending import lent
from polyarch.worker.trust.pem import certificates, encoded, read_certificates


def test_files_and_variables(tmp_path: Path, certificates: Path) -> None:
    root, directory = tmp_path / "root", tmp_path / "step"
    bundle = root / "etc/ssl/certs/ca-certificates.crt"
    bundle.parent.mkdir(parents=True)
    bundle.write_text(encoded([b"of the image"]))
    directory.mkdir()

    with lent(
        read_certificates([certificates / "ca.crt"]), root, directory, {"PIP_CERT": "/mine"}
    ) as found:
        [mount] = found.mounts
        assert isinstance(mount, Bind)
        files = {path.name: path.read_text("latin-1") for path in Path(mount.source).iterdir()}
        assert bundle.read_text() == files["bundle.pem"]

    ours = encoded(read_certificates([certificates / "ca.crt"]))
    assert (mount.target, mount.read_only) == ("/dev/.polyarch-ca", True)
    assert files["more.pem"] == ours
    assert files["bundle.pem"] == encoded([b"of the image"]) + ours
    assert files["apt.conf"] == 'Acquire::https::CaInfo "/dev/.polyarch-ca/bundle.pem";\n'
    assert found.variables["SSL_CERT_FILE"] == "/dev/.polyarch-ca/bundle.pem"
    assert found.variables["NODE_EXTRA_CA_CERTS"] == "/dev/.polyarch-ca/more.pem"
    assert "trustStore=/dev/.polyarch-ca/java.jks" in found.variables["JAVA_TOOL_OPTIONS"]
    assert "PIP_CERT" not in found.variables
    assert bundle.read_text() == encoded([b"of the image"])


def test_an_image_without_cas_gets_those_of_the_machine(
    tmp_path: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = tmp_path / "machine.pem"
    machine.write_text(encoded([b"of the machine"]))
    monkeypatch.setenv("SSL_CERT_FILE", str(machine))

    with lent(read_certificates([certificates / "ca.crt"]), tmp_path, tmp_path, {}) as found:
        [mount] = found.mounts
        assert isinstance(mount, Bind)
        text = (Path(mount.source) / "bundle.pem").read_text()

    assert text.startswith(encoded([b"of the machine"]))
    assert text.count("BEGIN") == 2


def test_a_keystore_is_as_java_writes_it() -> None:
    """By hand, after what `keytool -importcert` has written."""
    entry = b"\0\0\0\2\0\4ca-0" + bytes(8) + b"\0\5X.509\0\0\0\3der"
    data = bytes.fromhex("feedfeed 00000002 00000001") + entry
    digest = hashlib.sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + data).digest()

    assert keystore([b"der"]) == data + digest


def test_certificates_are_written_as_everybody_reads_them(certificates: Path) -> None:
    text = (certificates / "ca.crt").read_text()

    assert encoded([ssl.PEM_cert_to_DER_cert(text)]) == text


def test_certificates_of_a_text() -> None:
    text = f"# A company\n{encoded([b'one'])}\n-----BEGIN CERTIFICATE-----\n!\n{encoded([b'two', b'one'])}"

    assert certificates(text) == (b"one", b"two")


@pytest.mark.parametrize(
    ("text", "message"), [(None, "can't read the CAs in"), ("text", "there is no certificate in")]
)
def test_a_file_that_is_of_no_use(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)

    with pytest.raises(InputError, match=f"{message} {path}"):
        read_certificates([path])
