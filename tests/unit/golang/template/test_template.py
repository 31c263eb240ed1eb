"""What Go's text/template answers to the same questions, with docker's functions."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.golang.template.template import parse_template
from polyarch.golang.template.values import Value

DATA: Value = {
    "Name": "default",
    "Current": True,
    "Error": "",
    "Size": 4096,
    "None": None,
    "Tags": ["b", "a"],
    "Labels": {"z": "26", "a": {"b": "deep"}},
}


def render(source: str) -> str:
    return parse_template(source).render(DATA)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        # Values.
        ("plain }} text", "plain }} text"),
        ("{{.Name}} {{.Size}} {{.Current}}", "default 4096 true"),
        ("{{.Labels.a.b}} {{.Labels}} {{.Tags}}", "deep map[a:map[b:deep] z:26] [b a]"),
        ("{{.Nope}} {{.Nope.Deeper}} {{.None}}", "<no value> <no value> <no value>"),
        ("{{$.Name}} {{(.Labels).a.b}}", "default deep"),
        ("{{1}} {{-3}} {{0x10}} {{010}} {{1_000}} {{1.5}} {{1e3}} {{'a'}}", "1 -3 16 8 1000 1.5 1000 97"),
        ("{{1234567.5}} {{1e-7}} {{0.0}} {{-1e21}}", "1.2345675e+06 1e-07 0 -1e+21"),
        (r'{{"a\tb\x41\u00e9\"\101"}}{{`\n`}}', 'a\tbAé"A\\n'),
        ('{{"}}"}}{{`}}`}}', "}}}}"),
        # Blanks and comments.
        ("a {{- /* c */ -}} b{{/* {{x}} */}} c", "ab c"),
        ("a {{- 3}} {{3 -}} b", "a3 3b"),
        ("{{- -3 -}}", "-3"),
        # Pipes and variables.
        ('{{"a" | printf "%s-%s" "b"}}', "b-a"),
        ('{{.Name | upper | printf "%q"}}', '"DEFAULT"'),
        ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}", "12"),
        ('{{$a := "x"}}{{range .Tags}}{{$a = .}}{{end}}{{$a}}', "a"),
        ("{{$x := .Labels}}{{$x.z}}", "26"),
        # Branches.
        ("{{if .Current}}yes{{else}}no{{end}}", "yes"),
        ("{{if .Error}}yes{{else if .Size}}size{{else}}no{{end}}", "size"),
        ("{{if .Error}}yes{{else if .None}}size{{else}}no{{end}}", "no"),
        ("{{with .Name}}{{.}} {{$.Size}}{{end}}", "default 4096"),
        ("{{with .Error}}x{{else}}none{{end}}", "none"),
        ("{{with .Error}}x{{else with .Name}}{{.}}{{end}}", "default"),
        ("{{range .Tags}}{{.}},{{end}}", "b,a,"),
        ("{{range $t := .Tags}}{{$t}}{{end}}", "ba"),
        ("{{range $i, $t := .Tags}}{{$i}}={{$t}} {{end}}", "0=b 1=a "),
        ("{{range $k, $v := .Labels}}{{$k}} {{end}}", "a z "),
        ("{{range .Nope}}x{{else}}none{{end}}", "none"),
        ("{{range 3}}{{.}}{{end}}", "012"),
        ("{{range 5}}{{if eq . 1}}{{continue}}{{end}}{{if eq . 3}}{{break}}{{end}}{{.}}{{end}}", "02"),
        # Functions.
        ('{{json .Labels}} {{json "<é>"}} {{json nil}}', '{"z":"26","a":{"b":"deep"}} "<é>" null'),
        ('{{join .Tags "-"}} {{join (split "x,y" ",") "+"}}', "b-a x+y"),
        ('{{len (split "" ",")}}{{split "ab" ""}}', "1[a b]"),
        ('{{upper "a"}}{{lower "B"}} {{title "hello wORLD"}}', "Ab Hello WORLD"),
        ('{{truncate "abc" 2}} {{truncate "é" 1}} {{truncate "a" 9}}', "ab \ufffd a"),
        ('{{pad "a" 1 2}}|{{pad "" 1 2}}|', " a  ||"),
        ('{{print 1 2 "a" "b" 3}} {{println 1 "a"}}', "1 2ab3 1 a\n"),
        ("""{{html "<a b='c'>" 1 "&"}}""", "&lt;a b=&#39;c&#39;&gt;1&amp;"),
        ('{{len .Tags}} {{len "é"}} {{len .Labels}}', "2 2 2"),
        ('{{index .Tags 1}} {{index .Labels "a" "b"}} {{index "abc" 1}}', "a deep 98"),
        ('{{slice "abc" 1}} {{slice .Tags 0 1}}', "bc [b]"),
        ('{{eq .Name "a" "default"}} {{ne 1 2}} {{eq nil .None}}', "true true true"),
        ('{{lt 1 2}} {{le "a" "b"}} {{gt 2 1}} {{ge 1 1}} {{lt 1.5 2.5}}', "true true true true true"),
        ('{{and 1 0 2}} {{or 0 "" "x"}} {{not .Error}}', "0 x true"),
        ("{{or .Name (index .Tags 9)}}", "default"),
        # printf.
        (
            '{{printf "%5d,%-5s,%05d,%x,%t,%%,%c,%+d" 3 "a" 42 255 true 65 3}}',
            "    3,a    ,00042,ff,true,%,A,+3",
        ),
        ('{{printf "%6.2f|%g|%e|%6.3s|%q" 1.5 2.5 100.0 "abcdef" 65}}', "  1.50|2.5|1.000000e+02|   abc|'A'"),
        ('{{printf "%d %s %s" "a" 3}}', "%!d(string=a) %!s(int=3) %!s(MISSING)"),
        ('{{printf "a" 1}} {{printf "%z" 1}} {{printf "%"}}', "a%!(EXTRA int=1) %!z(int=1) %!(NOVERB)"),
        ('{{printf "%s %q %v" .Tags .Tags .None}}', '[b a] ["b" "a"] <nil>'),
        ('{{printf "%s %T %#v" .Labels 1 "a"}}', 'map[a:map[b:deep] z:26] int "a"'),
    ],
)  # fmt: skip
def test_render(source: str, text: str) -> None:
    assert render(source) == text


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{end}}", ":1: unexpected {{end}}"),
        ("{{else}}", ":1: unexpected {{else}}"),
        ("{{if}}x{{end}}", ":1: missing value for if"),
        ("{{}}", ":1: missing value for command"),
        ("a\n{{if true}}x", ":2: unexpected EOF"),
        ('{{"abc}}', ":1: unterminated quoted string"),
        ("{{`abc}}", ":1: unterminated raw quoted string"),
        ("{{.Name", ":1: unclosed action"),
        ("{{(1}}", ":1: unclosed left paren"),
        ("{{1)}}", ":1: unexpected right paren"),
        ("{{/* x", ":1: unclosed comment"),
        ("{{nofunc}}", ':1: function "nofunc" not defined'),
        ("{{$y}}", ':1: undefined variable "$y"'),
        ("{{if true}}{{$q := 3}}{{end}}{{$q}}", ':1: undefined variable "$q"'),
        ('{{"a" | "b"}}', ":1: non executable command in pipeline stage 2"),
        ("{{.Name@}}", ":1: bad character U+0040 '@'"),
        ("{{@}}", ':1: unexpected "@" in command'),
        ('{{"\\q"}}', ":1: invalid syntax"),
        ("{{1x}}", ':1: bad number syntax: "1x"'),
        ('{{"a".X}}', ':1: unexpected . after term "\\"a\\""'),
        ("{{break}}", ":1: {{break}} outside {{range}}"),
        ("{{if 1}}{{else}}{{else}}{{end}}", ":1: expected end; found {{else}}"),
        ('{{template "x"}}', ":1: {{template}} is not supported here"),
        ("{{end x}}", ":1: unexpected {{end}}"),
        ("{{if 1}}{{end x}}", ':1: unexpected "x" in end'),
        (
            "a\n é{{.Name.Foo}}",
            ":2:10: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type string",
        ),
        (
            "{{.None.Foo}}",
            ':1:7: executing "" at <.None.Foo>: nil pointer evaluating interface {}.Foo',
        ),
        ("{{nil}}", ':1:2: executing "" at <nil>: nil is not a command'),
        (
            "{{index .Tags 5}}",
            ':1:2: executing "" at <index .Tags 5>: error calling index: index out of range: 5',
        ),
        (
            '{{eq 1 "a"}}',
            ':1:2: executing "" at <eq 1 "a">: error calling eq: incompatible types for comparison',
        ),
        ("{{eq 1}}", ':1:2: executing "" at <eq 1>: error calling eq: missing argument for comparison'),
        ("{{len 3}}", ':1:2: executing "" at <len 3>: error calling len: len of type int'),
        ("{{upper}}", ':1:2: executing "" at <upper>: wrong number of args for upper: want 1 got 0'),
        ("{{and}}", ':1:2: executing "" at <and>: wrong number of args for and: want at least 1 got 0'),
        ("{{upper 3}}", ':1:8: executing "" at <3>: expected string; found 3'),
        (
            "{{upper .Size}}",
            ':1:8: executing "" at <.Size>: wrong type for value; expected string; got int',
        ),
        ('{{join "a" ","}}', ':1:7: executing "" at <"a">: can\'t handle "a" for arg of type []string'),
        ('{{"x" "y"}}', ':1:2: executing "" at <"x">: can\'t give argument to non-function "x"'),
        ("{{range .Name}}{{end}}", ':1:8: executing "" at <.Name>: range can\'t iterate over default'),
        (
            "{{range $i, $v := 2}}{{end}}",
            ':1:18: executing "" at <2>: can\'t use 2 to iterate over more than one variable',
        ),
        (
            "{{.Name 1}}",
            ':1:2: executing "" at <.Name>: Name has arguments but cannot be invoked as function',
        ),
    ],
)  # fmt: skip
def test_refused(source: str, message: str) -> None:
    with pytest.raises(InputError) as raised:
        render(source)

    assert str(raised.value) == f"template parsing error: template: {message}"


def test_fields_of_a_record_must_exist() -> None:
    template = parse_template("{{.Name}}{{.Labels.nope}}{{.Nope}}")

    with pytest.raises(InputError) as raised:
        template.render(DATA, record="*ls.Context")

    assert str(raised.value) == (
        'template parsing error: template: :1:27: executing "" at <.Nope>:'
        " can't evaluate field Nope in type *ls.Context"
    )


def test_headers_keep_their_names() -> None:
    template = parse_template("{{lower .Name}} {{json .Size}} {{truncate .Size 1}}")

    assert template.render_header({"Name": "NAME", "Size": "SIZE"}) == "NAME SIZE SIZE"


@given(st.text())
def test_text_without_actions_stands_for_itself(text: str) -> None:
    text = text.replace("{{", "{")

    assert render(text) == text


@given(st.text(st.sampled_from('{}.-$|()=:, "`/*aifrangedsl1\n')))
def test_no_other_error_escapes(text: str) -> None:
    with contextlib.suppress(InputError):
        render("{{" + text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_json_can_be_read_back(data: Value) -> None:
    assert json.loads(parse_template("{{json .}}").render(data)) == data


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_can_be_read_back(number: float) -> None:
    assert float(parse_template("{{.}}").render(number)) == number


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("index .Labels 1", "value has type int; should be string"),
        ("index .None 1", "index of untyped nil"),
        ("index 3 1", "can't index item of type int"),
        ('index .Tags "a"', "cannot index slice/array with type string"),
        ("slice 3 1", "can't slice item of type int"),
        ("slice .Tags 3", "index out of range: 3"),
        ("slice .Tags 2 1", "invalid slice index: 2 > 1"),
        ('slice .Tags "a"', "cannot index slice/array with these"),
        ("len .None", "len of nil pointer"),
        ("lt true false", "invalid type for comparison"),
        ("lt 1 1.5", "incompatible types for comparison"),
        ("eq .Tags .Tags", "non-comparable type [b a]: []interface {}"),
    ],
)
def test_functions_complain(call: str, complaint: str) -> None:
    name = call.partition(" ")[0]
    with pytest.raises(InputError) as raised:
        render("{{" + call + "}}")

    assert str(raised.value) == (
        f'template parsing error: template: :1:2: executing "" at <{call}>:'
        f" error calling {name}: {complaint}"
    )


def test_join_takes_what_is_no_text() -> None:
    assert parse_template('{{join .X "-"}}').render({"X": [1, "a", True]}) == "1-a-true"


@pytest.mark.parametrize(
    ("number", "text"), [(float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN")]
)
def test_numbers_that_are_none(number: float, text: str) -> None:
    assert parse_template("{{.}}").render(number) == text
