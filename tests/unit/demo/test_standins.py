from __future__ import annotations

from pathlib import Path

from demo.standins import imports
from tests.support.images.trees import plant

_SOURCES = {
    "fmt/print.go": 'package fmt\n\nimport (\n\t"os"\n\tstd "internal/sort" // why\n)\n',
    "fmt/make.go": '//go:build ignore\n\npackage main\n\nimport "net"\n',
    "os/file.go": 'package os\n\nimport "C"\nimport _ "unsafe"\n\nvar Name = "net"\n',
    "unsafe/unsafe.go": "package unsafe\n",
    "internal/sort/sort.go": 'package sort\n\nimport "fmt"\n',
    "net/net.go": "package net\n",
}


def test_imports_are_followed_to_their_end(tmp_path: Path) -> None:
    plant(tmp_path, _SOURCES)

    assert imports(tmp_path, ["fmt"]) == {"fmt", "os", "unsafe", "internal/sort"}
