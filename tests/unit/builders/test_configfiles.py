"""Settings of daemons, with the files that they name."""

from __future__ import annotations

import base64
import tomllib
from pathlib import Path

import pytest

from polyarch.builders.configfiles import config_files
from polyarch.errors import InputError

CONFIG = """\
debug = true
[registry."r.test:5000"]
  ca = ["{0}/my.pem"]
  [[registry."r.test:5000".keypair]]
    key = "{0}/key.pem"
    cert = "{0}/cert.pem"
[registry.plain]
  http = true
"""


def test_what_registries_need_is_taken_along(tmp_path: Path) -> None:
    for name in ("my", "key", "cert"):
        (tmp_path / f"{name}.pem").write_text(name)
    (tmp_path / "b.toml").write_text(CONFIG.format(tmp_path))

    files = {
        name: base64.b64decode(data).decode()
        for name, data in config_files(str(tmp_path / "b.toml")).items()
    }

    there = "/etc/buildkit/certs/r.test_5000"
    pair = {"key": f"{there}/key.pem", "cert": f"{there}/cert.pem"}
    assert tomllib.loads(files.pop("buildkitd.toml")) == {
        "debug": True,
        "registry": {
            "r.test:5000": {"ca": [f"{there}/my.pem"], "keypair": [pair]},
            "plain": {"http": True},
        },
    }
    assert files == {f"certs/r.test_5000/{name}.pem": name for name in ("my", "key", "cert")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "buildkit configuration file not found: {0}: stat {0}: no such file or directory"),
        ("[", "failed to parse buildkit configuration file: {0}: "),
        ("[registry]\na = 1", "failed to parse buildkit configuration file: {0}: invalid registry"),
        (
            '[registry.a]\nca = ["/none"]',
            "failed to read CA file: /none: No such file or directory",
        ),
    ],
)
def test_what_can_not_be_taken_along(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "b.toml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(InputError) as caught:
        config_files(str(path))

    assert str(caught.value).startswith(message.format(path))
