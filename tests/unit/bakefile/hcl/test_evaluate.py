"""Expressions of HCL: what they are worth, and what is said of faults."""

from __future__ import annotations

import pytest

from polyarch.bakefile.hcl.body import parse_expression
from polyarch.bakefile.hcl.evaluate import Scope, evaluate
from polyarch.bakefile.hcl.functions.library import LIBRARY
from polyarch.bakefile.hcl.place import HclError
from polyarch.bakefile.hcl.values import (
    Value,
    integer,
    json_text,
    object_value,
    string,
    tuple_value,
)
from polyarch.graph.location import SourceText

VARIABLES = {
    "word": string("tree"),
    "three": integer(3),
    "list": tuple_value([string("a"), string("b")]),
    "thing": object_value({"name": string("n"), "size": integer(2)}),
}


def worth(text: str) -> Value:
    source = SourceText(name="x.hcl", text=text)
    return evaluate(parse_expression(source, text, 0), Scope(VARIABLES, LIBRARY))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("-7 % 4", "-3"),
        ("-0", "-0"),
        ("[0 * -1, 0 / -2, -0 + -0, 0 - 0, -(-0)]", "[-0,-0,-0,0,0]"),
        ("-0 == 0", "true"),
        ("10 / 4", "2.5"),
        ("0.1 + 0.2", "0.3"),
        ("1 < 2 && !(2 < 1)", "true"),
        ("true || nosuch", "true"),
        ('1 == "1"', "false"),
        ('"a ${word} b"', '"a tree b"'),
        ('"${three}"', "3"),
        ('"x${three}"', '"x3"'),
        ('"$${word} %%{if}"', '"${word} %{if}"'),
        (r'"tab\t\u00e9\"q\""', '"tab\\té\\"q\\""'),
        ('"a ${~ word ~} b"', '"atreeb"'),
        ('"%{ if three > 2 }big%{ else }small%{ endif }"', '"big"'),
        ('"%{ for each in list }-${each}.%{ endfor }"', '"-a.-b."'),
        ("<<E\none\n  ${word}\nE", '"one\\n  tree\\n"'),
        ("<<-E\n    one\n      ${word}\n    E", '"one\\n  tree\\n"'),
        ('three == 3 ? "yes" : nosuch', '"yes"'),
        ('true ? 1 : "a"', '"1"'),
        ("[for each in list : upper(each)]", '["A","B"]'),
        ('[for i, each in list : "${i}${each}" if i > 0]', '["1b"]'),
        ("{for i, each in list : each => i}", '{"a":0,"b":1}'),
        ("{for each in list : three => each...}", '{"3":["a","b"]}'),
        ("[thing, thing][*].name", '["n","n"]'),
        ("[thing].*.size", "[2]"),
        ("thing.name", '"n"'),
        ('thing["size"]', "2"),
        ("list[three - 2]", '"b"'),
        ("list.0", '"a"'),
        ('{a = 1, "b" : 2, (word) = 3}', '{"a":1,"b":2,"tree":3}'),
        ("[\n  1, # one\n  2, // two\n  /* three */ 3,\n]", "[1,2,3]"),
        ("max(list[*] == null ? [1]... : [2]...)", ""),
        ("max([1, 5, 3]...)", "5"),
        ("try(nosuch, thing.nope, word)", '"tree"'),
        ("can(thing.nope)", "false"),
        ('convert("7", number) + 1', "8"),
        ('convert(["1"], list(number))', "[1]"),
    ],
)
def test_expressions_have_values(text: str, expected: str) -> None:
    if not expected:
        with pytest.raises(HclError):
            worth(text)
        return
    assert json_text(worth(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wrod", 'x.hcl:1,1-5: Unknown variable; There is no variable named "wrod". Did you mean "word"?'),
        ("uppr(word)", 'x.hcl:1,1-5: Call to unknown function; There is no function named "uppr". Did you mean "upper"?'),
        ("thing.nmae", 'x.hcl:1,6-11: Unsupported attribute; This object does not have an attribute named "nmae". Did you mean "name"?'),
        ("list[7]", "x.hcl:1,5-8: Invalid index; The given key does not identify an element in this collection value: the given index is greater than or equal to the length of the collection."),
        ("word + 1", "x.hcl:1,1-5: Invalid operand; Unsuitable value for left operand: a number is required."),
        ('"a${list}"', "x.hcl:1,5-9: Invalid template interpolation value; Cannot include the given value in a string template: string required, but have tuple."),
        ("true ? [1] : {}", "x.hcl:1,1-16: Inconsistent conditional result types; The true and false result expressions must have consistent types. The 'true' value is tuple, but the 'false' value is object."),
        ("[for x in word : x]", "x.hcl:1,11-15: Iteration over non-iterable value; A value of type string cannot be used as the collection in a 'for' expression."),
        ("join()", 'x.hcl:1,6-7: Not enough function arguments; Function "join" expects at least 1 argument(s). Missing value for "separator".'),
        ("upper(word, word)", 'x.hcl:1,13-17: Too many function arguments; Function "upper" expects only 1 argument(s).'),
        ("upper(list)", 'x.hcl:1,7-11: Invalid function argument; Invalid value for "str" parameter: string required, but have tuple.'),
        ("(1", "x.hcl:1,3-3: Unbalanced parentheses; Expected a closing parenthesis to terminate the expression."),
        ('"abc', "x.hcl:1,1-5: Unterminated template string; No closing marker was found for the string."),
        ("a ; b", 'x.hcl:1,3-4: Invalid character; The ";" character is not valid. Use newlines to separate arguments and blocks, and commas to separate items in collection values.'),
    ],
)  # fmt: skip
def test_faults_are_told_with_their_place(text: str, message: str) -> None:
    with pytest.raises(HclError) as caught:
        worth(text)

    assert str(caught.value) == message
    assert caught.value.line == 1


def test_nesting_without_end_is_refused() -> None:
    for opening in ("(", "[", "{a=", "-", "!", '"${', "upper(", "1?1:"):
        with pytest.raises(HclError, match="nested too deep"):
            worth(opening * 5000)
