"""The figures of a table, from one run to the next."""

from __future__ import annotations

from pathlib import Path

from tools.bench.kept import Figures
from tools.bench.rows import Row

TAR = Row(name="tar", base="debian", script="tar -cf /out /usr")
GZIP = Row(name="gzip", base="debian", script="gzip -c /data > /out")


def test_a_resumed_run_has_the_figures_of_those_before_it(tmp_path: Path) -> None:
    path = tmp_path / "build/figures.json"
    first = Figures(path, is_resumed=True)
    first.put(TAR, "native", 1.5)
    first.put(TAR, "strict", 6.0)

    second = Figures(path, is_resumed=True)
    second.put(GZIP, "native", 2.0)

    third = Figures(path, is_resumed=True)
    assert third.of(TAR) == {"native": 1.5, "strict": 6.0}
    assert third.of(GZIP) == {"native": 2.0}


def test_a_new_run_has_none(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    Figures(path, is_resumed=True).put(TAR, "native", 1.5)

    Figures(path, is_resumed=False).put(GZIP, "native", 2.0)

    assert Figures(path, is_resumed=True).of(TAR) == {}


def test_figures_of_another_step_of_that_name_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    Figures(path, is_resumed=True).put(TAR, "native", 1.5)

    changed = Row(name="tar", base="debian", script="tar -cf /out /bin")

    assert Figures(path, is_resumed=True).of(changed) == {}
