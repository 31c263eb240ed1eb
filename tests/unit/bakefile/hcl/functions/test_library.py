"""The standard library of bake files."""

from __future__ import annotations

import pytest

from polyarch.bakefile.hcl.body import parse_expression
from polyarch.bakefile.hcl.evaluate import Scope, evaluate
from polyarch.bakefile.hcl.functions.library import LIBRARY
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.values import json_text
from polyarch.graph.location import SourceText

NAMES = """absolute add and base64decode base64encode basename bcrypt byteslen bytesslice ceil chomp chunklist
cidrhost cidrnetmask cidrsubnet cidrsubnets coalesce coalescelist compact concat contains csvdecode dirname distinct
divide element equal flatten floor format formatdate formatlist formattimestamp greaterthan greaterthanorequalto
hasindex homedir indent index indexof int join jsondecode jsonencode keys length lessthan lessthanorequalto log lookup
lower max md5 merge min modulo multiply negate not notequal or parseint pow range regex regex_replace regexall replace
reverse reverselist rsadecrypt sanitize semvercmp sethaselement setintersection setproduct setsubtract
setsymmetricdifference setunion sha1 sha256 sha512 signum slice sort split strlen substr subtract timeadd timestamp
title trim trimprefix trimspace trimsuffix unixtimestampparse upper urlencode uuidv4 uuidv5 values zipmap"""


def worth(text: str) -> str:
    source = SourceText(name="x", text=text)
    return json_text(evaluate(parse_expression(source, text, 0), Scope({}, LIBRARY)))


def test_every_function_is_there() -> None:
    assert set(NAMES.split()) == set(LIBRARY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("divide(1, 3) == 1 / 3", "true"),
        ("pow(2, 70)", "1180591620717411300000"),
        ("log(8, 2)", "3"),
        ('parseint("ff", 16)', "255"),
        ("[floor(-1.5), ceil(-1.5), int(-1.5)]", "[-2,-1,-1]"),
        ("[min(3, 1), max(3, 1), signum(-4), absolute(-4)]", "[1,3,-1,4]"),
        ('[basename("a/b/"), dirname("a/b"), dirname("/a"), basename("")]', '["b","a","/","."]'),
        ("chunklist([1, 2, 3], 2)", "[[1,2],[3]]"),
        ("flatten([1, [2, [3]]])", "[1,2,3]"),
        ('concat(["a"], [1])', '["a",1]'),
        ("merge({a = 1}, {b = 2}, {a = 3})", '{"a":3,"b":2}'),
        ('lookup({a = 1}, "b", 2)', "2"),
        ('zipmap(["a", "b"], [1, 2])', '{"a":1,"b":2}'),
        ("[range(3), range(3, 0), range(1, 2, 0.5)]", "[[0,1,2],[3,2,1],[1,1.5]]"),
        ("[keys({b = 1, a = 2}), values({b = 1, a = 2})]", '[["a","b"],[2,1]]'),
        ('slice(["a", "b", "c"], 1, 2)', '["b"]'),
        ("element([1, 2, 3], 4)", "2"),
        ('indexof(["a", "b"], "b")', "1"),
        ('coalesce(null, "", "a")', '""'),
        ('compact(["a", ""])', '["a"]'),
        ("setunion([2], [1, 2])", "[1,2]"),
        ("setsymmetricdifference([1, 2], [2, 3])", "[1,3]"),
        ('setproduct(["a"], [1, 2])', '[["a",1],["a",2]]'),
        ('format("%05.1f|%-4d|%4s|%q|%x|%t|%v|%%", 2.25, 3, "a", "b", 255, true, [1])', '"002.2|3   |   a|\\"b\\"|ff|true|[1]|%"'),
        ('formatlist("%s-%s", ["a", "b"], "c")', '["a-c","b-c"]'),
        ('[strlen("e\\u0301a"), reverse("ab"), substr("hello", -3, 2)]', '[2,"ba","ll"]'),
        ('title("a bc")', '"A Bc"'),
        ('split(",", "a,b")', '["a","b"]'),
        ('join("-", ["a"], ["b"])', '"a-b"'),
        ('[trim("xax", "x"), trimprefix("ab", "a"), chomp("a\\n")]', '["a","b","a"]'),
        ('sanitize("a.b/c")', '"a_b_c"'),
        ('[for c in ["^1.2", "~1.2", ">=2 || <1", "1.2 - 1.4", "!=1.3.0", "1.x"] : semvercmp("1.3.0", c)]', "[true,false,false,true,false,true]"),
        ('regex("(?P<a>\\\\d+)", "x12")', '{"a":"12"}'),
        ('regexall("[[:alpha:]]+", "ab 1 c")', '["ab","c"]'),
        ('regex_replace("abc", "(b)", "-$1-")', '"a-b-c"'),
        ('formatdate("EEEE, DD MMM YYYY hh:mm AA ZZZ \'at\'", "2024-03-05T15:04:05+01:00")', '"Tuesday, 05 Mar 2024 15:04 PM +0100 at"'),
        ('[formattimestamp("X", "1970-01-01T00:01:00Z"), formattimestamp("YYYY", 0)]', '["60","1970"]'),
        ('timeadd("2024-01-01T00:00:00Z", "-1h")', '"2023-12-31T23:00:00Z"'),
        ("unixtimestampparse(86400).weekday_name", '"Friday"'),
        ('csvdecode("a,b\\n1,\\"x,y\\"\\n")', '[{"a":"1","b":"x,y"}]'),
        ('jsondecode("{\\"a\\": [1, null, true]}")', '{"a":[1,null,true]}'),
        ('[base64encode("hé"), base64decode("aGk=")]', '["aMOp","hi"]'),
        ('md5("a")', '"0cc175b9c0f1b6a831c399e269772661"'),
        ('uuidv5("dns", "example.org")', '"aad03681-8b63-5304-89e0-8ca8f49461b5"'),
        ('urlencode("a b&é")', '"a+b%26%C3%A9"'),
        ('[cidrhost("10.0.0.0/8", -2), cidrnetmask("10.0.0.0/12"), cidrsubnet("fd00::/8", 8, 1)]', '["10.255.255.254","255.240.0.0","fd01::/16"]'),
        ('cidrsubnets("10.0.0.0/8", 8, 4)', '["10.0.0.0/16","10.16.0.0/12"]'),
    ],
)  # fmt: skip
def test_functions_give_what_go_gives(text: str, expected: str) -> None:
    assert worth(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("element([], 1)", "cannot use element function with an empty list"),
        ('regex("(", "a")', "invalid regexp pattern: missing closing ) in ("),
        ('regex("(?=a)", "a")', "invalid or unsupported Perl syntax"),
        ('base64decode("a")', "failed to decode base64 data 'a'"),
        ("1 / 0 == 2 || jsonencode(1 / 0)", "cannot serialize infinity as JSON"),
        ("range(2000)", "more than 1024 values were generated"),
        ('byteslen("a")', "bytes required, but have string"),
        ('rsadecrypt("!", "k")', "cipher text must be base64-encoded"),
        ('format("%d", 1.5)', "an integer is required"),
        ('cidrhost("10.0.0.0", 1)', "invalid CIDR expression"),
        ('timeadd("2024-01-01 00:00:00Z", "1h")', "missing required time introducer 'T'"),
        ('semvercmp("x", "1")', "invalid semantic version"),
        ("upper(null)", "argument must not be null"),
    ],
)
def test_functions_say_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(HclError) as caught:
        worth(text)

    assert reason in str(caught.value)
