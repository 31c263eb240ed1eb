"""printf of templates, with the answers of Go 1.27's fmt.Sprintf to the same calls."""

from __future__ import annotations

import pytest

from polyarch.golang.template.printf import sprintf
from polyarch.golang.template.structs import STRING, TIME, GoField, Struct
from polyarch.golang.template.values import Value


@pytest.mark.parametrize(
    ("form", "arguments", "text"),
    [
        ("%5d|%-5d|%05d|%+d|% d|%x|%#X|%o|%#o|%O|%b|%c|%U|%#U|%q", [42, 42, -42, 42, 42, 255, 255, 8, 8, 8, 5, 65, 233, 233, 10], "   42|42   |-0042|+42| 42|ff|0XFF|10|010|0o10|101|A|U+00E9|U+00E9 'é'|'\\n'"),
        ("%.3d|%8.3d|%08.3d|%.0d|%+.0d|%-+6d|%+06d", [7, 7, -7, 0, 0, 3, 3], "007|     007|    -007|||+3    |+00003"),
        ("%s|%8s|%-8s|%08s|%.2s|%q|%#q|%+q|%x|% X|%#x|%.1x|% #x", ["é", "é", "é", "é", "héé", 'a"b', 'a"b', "é", "hé", "hé", "hi", "hé", "hi"], 'é|       é|é       |0000000é|hé|"a\\"b"|`a"b`|"\\u00e9"|68c3a9|68 C3 A9|0x6869|68|0x68 0x69'),
        ("%#q|%#q", ["a`b", "a\tb"], '"a`b"|`a\tb`'),
        ("%f|%.1f|%8.2f|%-8.1f|%+.0f|%08.3f|%e|%.2E|%g|%.3g|%G|%v|%F", [1.5, 0.25, 3.14159, 2.5, 2.5, -3.25, 100.0, 12345.0, 1e+21, 1234.5, 1e-07, 1e+20, 1.0], "1.500000|0.2|    3.14|2.5     |+2|-003.250|1.000000e+02|1.23E+04|1e+21|1.23e+03|1E-07|1e+20|1.000000"),
        ("%#.0f|%#g|%#.3g|%#v|%#e", [1.0, 1.5, 100.0, 1.0, 2.0], "1.|1.50000|100.|1|2.000000e+00"),
        ("%t|%6t|%v|%d", [True, False, True, True], "true| false|true|%!d(bool=true)"),
        ("%v|%d|%5v|%T|%#v|%s", [[1, "a", None], [1, "a"], [1, 2], [1], [1, "a", None], {"b": "x", "a": 1}], '[1 a <nil>]|[1 %!d(string=a)]|[    1     2]|[]interface {}|[]interface {}{1, "a", interface {}(nil)}|map[a:%!s(int=1) b:x]'),
        ("%#v|%v|%T", [{"b": 1, "a": [True]}, {"b": None}, {}], 'map[string]interface {}{"a":[]interface {}{true}, "b":1}|map[b:<nil>]|map[string]interface {}'),
        ("%v|%s|%T|%d", [None, None, None, None], "<nil>|%!s(<nil>)|<nil>|%!d(<nil>)"),
        ("%d %s", ["a", 3], "%!d(string=a) %!s(int=3)"),
        ("%z %!|%d", [1], "%!z(int=1) %!!(MISSING)|%!d(MISSING)"),
        ("%s %d", ["a"], "a %!d(MISSING)"),
        ("%%|%d%", [1], "%|1%!(NOVERB)"),
        ("%", [], "%!(NOVERB)"),
        ("%.", [1], "%!.(int=1)"),
        ("%[2]d %[1]d|%[3]d|%[x]d|%[1]d", [1, 2], "2 1|%!d(BADINDEX)|%!d(BADINDEX)|1"),
        ("%[2]*[1]d|%-*d|%.*f|%*d", [3, 5], "    3|%!d(MISSING)|%!(BADPREC)%!f(MISSING)|%!(BADWIDTH)%!d(MISSING)"),
        ("%*d|%-*d|%.*f", [4, 7, 4, 7, 1, 2.25], "   7|7   |2.2"),
        ("%*d|%.*d", ["a", 7, -1, 7], "%!(BADWIDTH)7|%!(BADPREC)7"),
        ("%[1]5d|%6.[1]d|%d", [3], "%!d(BADINDEX)|     3|%!d(MISSING)"),
        ("%w|%é", [1, "a"], "%!w(int=1)|%!é(string=a)"),
        ("%d", [1, "a", None, [1.5]], "1%!(EXTRA string=a, <nil>, []interface {}=[1.5])"),
        ("%5t|%q|%q|%c|%c|%U", [True, 55296, 1114112, -1, 128512, -62], " true|'�'|'�'|�|😀|U+FFFFFFFFFFFFFFC2"),
    ],
)  # fmt: skip
def test_sprintf(form: str, arguments: list[Value], text: str) -> None:
    assert sprintf(form, arguments) == text


def test_infinities_are_not_padded_with_zeros() -> None:
    numbers: list[Value] = [float("inf"), float("-inf"), float("nan"), float("nan")]

    assert sprintf("%06.1f|%06.1f|%06.1f|%+g", numbers) == "  +Inf|  -Inf|   NaN|+NaN"


def test_values_of_go_say_themselves_how_they_are_written() -> None:
    moment = TIME.read("2024-01-02T03:04:05Z")
    pair = Struct("v1.Pair", (GoField(name="A", type=STRING), GoField(name="B", type=STRING)))

    assert sprintf("%30s|%v", [moment, moment]) == (
        " 2024-01-02 03:04:05 +0000 UTC|2024-01-02 03:04:05 +0000 UTC"
    )
    assert sprintf("%v|%T|%d", [pair.make(A="x"), pair.make(), pair.make(B="y")]) == (
        "{x }|v1.Pair|%!d(v1.Pair={ y})"
    )
