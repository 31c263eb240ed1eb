"""Laws of the walk that copies and digests share, against a model that asks about every path by itself."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.text.ignore import Matcher
from polyarch.worker.listing import Listing
from polyarch.worker.tree import SourceTree
from polyarch.worker.walk import select
from tests.support.images.trees import plant

NAMES = st.sampled_from(["a", "b", "ab", ".c"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from(["a", "b", "ab", "*", "a*", "**", "?"])
PATTERNS = st.lists(st.lists(PIECES, min_size=1, max_size=3).map("/".join), max_size=3)


def directories(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[: number + 1]) for number in range(len(parts)))


def matches(patterns: list[str], path: str) -> bool:
    """Tell if a pattern matches the path or a directory above it; there are no exceptions."""
    return any(
        re.fullmatch(expression(pattern), each)
        for pattern in patterns
        for each in directories(path)
    )


def expression(pattern: str) -> str:
    out = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
    return out.replace(r"\*", "[^/]*").replace(r"\?", "[^/]")


@settings(max_examples=60)
@given(files=st.sets(PATHS, max_size=8), includes=PATTERNS, excludes=PATTERNS)
def test_select_agrees_with_the_model(
    files: set[str], includes: list[str], excludes: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        kept = {
            each for each in files if not any(f"{each}/" in f"{other}/" for other in files - {each})
        }
        root = plant(Path(name), dict.fromkeys(kept, ""))
        found = list(
            select(
                SourceTree(root=root),
                str(root),
                Matcher(includes) if includes else None,
                Matcher(excludes) if excludes else None,
            )
        )
        paths = [str(path.relative_to(root)) for path in root.rglob("*")]

    wanted = {
        each
        for each in paths
        if (not includes or matches(includes, each)) and not matches(excludes, each)
    }
    assert {each.inside for each in found if each.is_wanted} == wanted
    assert {each.inside for each in found} == {
        each for path in wanted for each in directories(path)
    }
    seen: set[str] = set()
    for each in found:
        assert set(directories(each.inside)) - {each.inside} <= seen
        seen.add(each.inside)


def test_files_of_a_context_are_skipped_by_directory(tmp_path: Path) -> None:
    root = plant(tmp_path, dict.fromkeys(["a", "b/a", "b/b/a", "b/c/a"], ""))
    met: list[str] = []

    def skip(prefix: str, path: str, listing: Listing) -> bool:
        assert path == str(root / prefix).rstrip("/")
        met.append(f"{prefix} {len(listing)}")
        return prefix in {"", "b/b/"}

    found = select(SourceTree(root=root, is_context=True), root, skip=skip)

    assert [each.inside for each in found] == ["b", "b/a", "b/b", "b/c", "b/c/a"]
    assert met == [" 2", "b/ 3", "b/b/ 1", "b/c/ 1"]
