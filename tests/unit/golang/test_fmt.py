from __future__ import annotations

from polyarch.golang.fmt import quoted_list, value_list


def test_lists_have_no_commas() -> None:
    assert quoted_list(["x", 'y"z']) == '["x" "y\\"z"]'
    assert value_list(["x", "y z"]) == "[x y z]"
    assert (quoted_list([]), value_list([])) == ("[]", "[]")
