import pytest

from polyarch.text.wildcard import compile_name, has_wildcards, split_pattern


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("*.txt", ["a.txt", ".txt"], ["a.txt.md"]),
        ("?", ["a", "ä"], ["", "ab"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[^a-c]x", ["dx"], ["ax"]),
        ("[^^]", ["a"], ["^"]),
        (r"[\]\-]", ["]", "-"], ["\\"]),
        ("[c-a]", [], ["a", "b", "c", "-"]),
        ("[^c-a]", ["a", "c"], []),
        (r"\*\[*", ["*[x"], ["ab"]),
        ("[[a]", ["[", "a"], ["[a"]),
        ("[!a]", ["!", "a"], ["b"]),
        ("a.b", ["a.b"], ["axb"]),
        ("*\n", ["x\n\n"], ["x"]),
        ("a*b*c*", ["abc", "axbxbcxc"], ["acb", "xabc"]),
        ("*a" * 30 + "b", ["a" * 250 + "b"], ["a" * 250]),
        ("*[^a]*?", ["ab?", "bb"], ["aa", "b"]),
    ],
)
def test_matches(pattern: str, names: list[str], others: list[str]) -> None:
    expression = compile_name(pattern)
    assert [name for name in names if expression.fullmatch(name)] == names
    assert [name for name in others if expression.fullmatch(name)] == []


@pytest.mark.parametrize("pattern", ["[", "[]", "[]a]", "a[", "[a", "[-a]", "[a-]", "*\\", "[^]"])
def test_a_wrong_pattern_matches_nothing(pattern: str) -> None:
    assert compile_name(pattern).fullmatch(pattern) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("a/b", False), ("a*", True), ("a?b", True), ("[", True), (r"a\*b", False), (r"\\*", True)],
)
def test_has_wildcards(path: str, expected: bool) -> None:
    assert has_wildcards(path) is expected


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a/b", ("a/b", "")),
        ("/a/*/c", ("a", "*/c")),
        ("*", ("", "*")),
        (r"a\*b/[c]/d", (r"a\*b", "[c]/d")),
    ],
)
def test_split_pattern(path: str, parts: tuple[str, str]) -> None:
    assert split_pattern(path) == parts
