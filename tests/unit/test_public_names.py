"""The names of the package: there when they are asked for, and nothing loaded before."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from typing import get_type_hints

import pytest

import polyarch
from polyarch.request.options import BuildOptions
from polyarch.request.values import BuildRequest


def run(script: str) -> str:
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return ended.stdout.decode().strip()


@pytest.mark.parametrize("name", polyarch.__all__)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(polyarch, name) is not None
    assert name in dir(polyarch)


def test_an_unknown_name_is_an_ordinary_mistake() -> None:
    with pytest.raises(AttributeError, match="module 'polyarch' has no attribute 'biuld'"):
        _ = polyarch.biuld  # type: ignore[attr-defined]


def test_the_package_loads_nothing() -> None:
    script = "import sys; old = set(sys.modules); import polyarch; print(set(sys.modules) - old)"

    assert run(script) == "{'polyarch'}"


def test_the_function_is_never_hidden_by_a_module() -> None:
    script = """
import polyarch.errors, polyarch.pipeline.build, polyarch.api.builds, polyarch.cli.building.build
print(polyarch.build is polyarch.api.builds.build)
"""

    assert run(script) == "True"


def test_no_room_has_the_name_of_a_function() -> None:
    """Once such a room was loaded, its name would stand for it."""
    rooms = {module.name for module in pkgutil.iter_modules(polyarch.__path__)}

    assert rooms & set(polyarch.__all__) == {"errors"}


def test_an_engine_isnt_loaded_by_its_caller() -> None:
    script = "import polyarch, sys; polyarch.build; print('polyarch.pipeline.build' in sys.modules)"

    assert run(script) == "False"


def test_each_field_of_a_request_has_a_keyword() -> None:
    keywords = get_type_hints(BuildOptions).keys() | {"context"}

    assert keywords - {"push", "load", "needs_digest"} == (
        get_type_hints(BuildRequest).keys() - {"context_files", "policies", "ref", "vcs"}
    )
