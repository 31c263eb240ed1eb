"""The examples of docs/python-api.md are run, one after another, and print what the page says."""

from __future__ import annotations

import re

import pytest

from tests.support.machine.engines import SOURCE
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.qemu, pytest.mark.root]

PAGE = SOURCE.parent / "docs/python-api.md"
EXAMPLE = re.compile(r"```python\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)
EXAMPLES = EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))


def test_the_examples_of_the_page(root: Person, registry: RealRegistry) -> None:
    def local(text: str) -> str:
        names = {
            "registry.example": registry.host,
            "FROM busybox": f"FROM {registry.host}/library/busybox",
        }
        for name, there in names.items():
            text = text.replace(name, there)
        return text

    dockerfile = re.search(r"```dockerfile\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert dockerfile is not None
    root.write("Dockerfile", local(dockerfile[1]))
    printed = []
    for number, (script, expected) in enumerate(EXAMPLES):
        path = root.write(f"examples/{number}.py", local(script))
        out = root.run_other(root.command()[0], "-W", "error", str(path)).check().out
        printed.append(out)
        assert not expected or out == local(expected)

    assert len(printed) == 12
    events = printed[6].splitlines()
    assert events[-1].startswith("done: [2/2] RUN echo one")
    assert "".join(sorted(events[:-1])) == r"printed: b'one\n'printed: b'two\n'"


def test_the_page_names_all_options() -> None:
    text = PAGE.read_text()
    options = (SOURCE / "polyarch/request/options.py").read_text()
    names = set(re.findall(r"^    (\w+): ", options, re.MULTILINE))

    assert {name for name in names if f"`{name}`" not in text} == set()
