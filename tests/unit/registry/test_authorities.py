"""CAs that are trusted everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.registry.authorities import Authority, find_authorities
from polyarch.registry.hosts import load_hosts


def settings(directory: Path, text: str) -> Path:
    path = directory / "polyarch/registries.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_settings_and_the_variable_count_together(tmp_path: Path) -> None:
    path = settings(tmp_path, 'ca = ["/a.pem"]\n[registry."r.example"]\nca = ["/r.pem"]\n')
    environ = {"XDG_CONFIG_HOME": str(tmp_path), "POLYARCH_CA": "/b.pem, /c.pem"}

    found = find_authorities(environ)
    hosts = load_hosts(environ, tmp_path / "etc")

    assert found == (
        Authority(path=Path("/a.pem"), source=str(path)),
        Authority(path=Path("/b.pem"), source="$POLYARCH_CA"),
        Authority(path=Path("/c.pem"), source="$POLYARCH_CA"),
    )
    host = hosts.writing("r.example", "app")
    assert host.endpoint.authorities == tuple(map(Path, ("/r.pem", "/a.pem", "/b.pem", "/c.pem")))
    assert host.sources == (str(path), "$POLYARCH_CA")
    # They are no sign that a registry of this machine speaks HTTPS.
    assert hosts.writing("localhost:5000", "app").plain


def test_the_store_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all.pem").touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "all.pem"))

    [found] = find_authorities({"XDG_CONFIG_HOME": str(tmp_path), "POLYARCH_CA": "machine"})

    assert found.path == tmp_path / "all.pem"


def test_damaged_settings_name_the_file(tmp_path: Path) -> None:
    settings(tmp_path, 'ca = "/a.pem"')

    with pytest.raises(InputError, match=r"registries\.toml: ca is a list of texts"):
        find_authorities({"XDG_CONFIG_HOME": str(tmp_path)})
