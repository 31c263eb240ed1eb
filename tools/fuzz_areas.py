"""What `tools.fuzz` can try: for each area seeds, words to make inputs of, and what has to hold.

A check returns a word for what came of the input, and raises if something is wrong. Second
implementations to compare with are those of the tests.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from polyarch.cli.building import limits
from polyarch.cli.building import values as flags
from polyarch.dockerfile.expand.expand import DISPLAY, HEREDOC, RAW, WORD, expansion
from polyarch.dockerfile.lint.rules import parse_options
from polyarch.dockerfile.lowering.lower import lower
from polyarch.dockerfile.lowering.lowering import LowerOptions
from polyarch.dockerfile.lowering.ports import parse_ports
from polyarch.dockerfile.parser import parse
from polyarch.dockerfile.syntax.lexer import decode, find_directive
from polyarch.dockerfile.syntax.mount import mount_from, parse_device, parse_mount
from polyarch.dockerfile.syntax.statement import split_statement
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.time import parse_duration
from polyarch.golang.unicode import SPACE
from polyarch.golang.units import ram_in_bytes
from polyarch.graph.graph import GraphMaker
from polyarch.graph.location import SourceText
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import parse as parse_platform
from polyarch.text.filemode import parse_mode
from polyarch.text.giturl import parse_git_reference
from polyarch.text.ignore import Matcher, read_patterns
from polyarch.text.owner import has_names
from polyarch.text.wildcard import compile_name, split_pattern
from tests.support.dockerfiles.expansion_model import Refused, expand_simply
from tests.support.dockerfiles.ignore_model import files_sent, is_ignored
from tests.support.dockerfiles.ignoring import kept_files
from tests.support.dockerfiles.lowering import AMD64, ARM64, IMAGES
from tests.support.dockerfiles.printing import check_printing
from tools.beside import PROJECT, find_beside

__all__ = ["AREAS", "Area", "outcome_of"]

ENV = {
    "a": "xyx",
    "b": "a/b*c?",
    "c": "",
    "long_Name1": "one  two\nthree",
    "x": "$a `\\'",
    "1": "aaaa",
    "é": "ab",
}
FILES = (
    *("a", "b", "a.b", "-a", "a/a", "a/b", "a/b/a", "a/b/b.a", "b/a", "b/b/b/b", "b/ab/a", ".a/b"),
    *("ab", "aab/aab", "c/c", "d/!a", "d/[a]", "d/\\", "a*", "#a", "a b", "zz/y-/x"),
)
_NAMES = r"[a-z./*? !#\n-]"
# The second implementation of ignore patterns knows these only: simple classes, no letters escaped.
_SIMPLE_PATTERNS = re.compile(rf"(?:{_NAMES}|\\[][*?.!-]|\[\^?(?:[a-c]-[d-z]|[a-z])+\])*".encode())
_LONG = 4096  # bytes, from which not everything is tried
_STRING = r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_ARRAY = re.compile(rf"\[[ \t\r\n]*(?:{_STRING}[ \t\r\n]*(?:,[ \t\r\n]*{_STRING}[ \t\r\n]*)*)?\]")
_QUOTED = re.compile(r"[\"'`(\[].*", re.DOTALL)


_Reader = Callable[[str], object]


@dataclass(frozen=True)
class Area:
    """Something that takes texts of others; `seeds` is called once."""

    seeds: Callable[[], tuple[bytes, ...]]
    words: tuple[bytes, ...]
    check: Callable[[bytes], str]


def outcome_of(error: PolyarchError) -> str:
    """Tell errors apart by their words, not by the input's."""
    return f"{type(error).__name__} {_QUOTED.sub('', str(error))[:60]}"


def _check_lexer(data: bytes) -> str:

    source = SourceText(name="Dockerfile", text=decode(data))
    for key in ("check", "escape", "syntax"):
        find_directive(key, source.text)
    try:
        dockerfile = parse(source)
    except PolyarchError as error:
        if error.place is None:
            raise AssertionError(f"no place in: {error}") from error
        error.place.excerpt()
        return outcome_of(error)
    if len(data) < _LONG:
        check_printing(dockerfile)
    kinds = {type(each).__name__ for stage in dockerfile.stages for each in stage.instructions}
    return f"parsed {dockerfile.escape} {len(dockerfile.directives)} {sorted(kinds)}"


def _check_frontend(data: bytes) -> str:

    maker = GraphMaker()
    try:
        dockerfile = parse(SourceText(name="Dockerfile", text=decode(data)))
        for platform in (AMD64, ARM64):
            options = LowerOptions(build_platform=AMD64, all_stages=True)
            lower(dockerfile, platform, options=options, maker=maker, images=IMAGES)
    except PolyarchError as error:
        return outcome_of(error)
    return f"lowered {len(dockerfile.stages)}"


def _check_expansion(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    outcome = ""
    for escape in "\\`":
        for mode in (WORD, HEREDOC):
            outcome = _compare_expansion(text, escape, heredoc=mode is HEREDOC)
        for mode in (RAW, DISPLAY):
            with contextlib.suppress(PolyarchError):
                expansion(text, ENV, escape=escape, mode=mode)
    return outcome


def _compare_expansion(text: str, escape: str, *, heredoc: bool) -> str:

    try:
        found = expansion(text, ENV, escape=escape, mode=HEREDOC if heredoc else WORD)
        ours: object = found.text, list(found.words)
        outcome = f"expanded {len(found.words)} {sorted(found.matched)}"
    except PolyarchError as error:
        ours = None
        outcome = _QUOTED.sub("", str(error).rpartition('": ')[2])
    if len(text) > 150:
        return outcome  # the other one is slow
    try:
        theirs: object = expand_simply(text, ENV, escape=escape, heredoc=heredoc)
    except Refused:
        theirs = None
    _same(ours, theirs)
    return outcome


def _same(ours: object, theirs: object) -> None:
    if ours != theirs:
        raise AssertionError(f"{ours!r} should be {theirs!r}")


def _check_ignore(data: bytes) -> str:

    # Each path is compared with each pattern: of thousands of those, that is the time.
    files = FILES if len(data) < _LONG else FILES[:4]
    try:
        patterns = read_patterns(data)
        kept = kept_files(patterns, files)
        matcher = Matcher(patterns)
        ignored = [path for path in files if matcher.ignores(path)]
    except PolyarchError as error:
        return outcome_of(error)
    if len(data) < 200 and _SIMPLE_PATTERNS.fullmatch(data):
        text = data.decode()
        _same(ignored, [path for path in FILES if is_ignored(text, path)])
        _same(kept, files_sent(text, FILES))
    return f"{len(kept)} {len(ignored)}"


def _check_json(data: bytes) -> str:
    text = "[" + data.decode("utf-8", "replace").replace("\n", " ")
    is_array = _ARRAY.fullmatch(text.rstrip(SPACE)) is not None
    try:
        statement = split_statement(f"CMD {text}")
    except PolyarchError as error:
        _same(is_array, False)
        return outcome_of(error)
    _same(statement.is_json, is_array)
    if not is_array:
        return f"text {len(statement.arguments)}"
    again = split_statement(f"CMD {json.dumps(statement.arguments)}")
    _same(again.arguments, statement.arguments)
    return f"json {len(statement.arguments)}"


def _refusing(readers: Mapping[str, _Reader]) -> Callable[[bytes], str]:
    """Make a check for readers that have to return something or to refuse the text."""

    def check(data: bytes) -> str:
        text = data.decode("utf-8", "surrogateescape")
        outcomes: list[str] = []
        for name, read in readers.items():
            try:
                found = read(text)
            except InputError as error:
                outcomes.append(outcome_of(error))
            else:
                outcomes.append(f"{name} {type(found).__name__}")
        return " | ".join(outcomes)

    return check


def _mode(text: str) -> int:
    mode = parse_mode(text)
    return mode.of(0o644, False) | mode.of(0o755, True) | mode.of_new_directories


def _wildcard(text: str) -> object:
    _before, pattern = split_pattern(text)
    return [compile_name(part).fullmatch("aab" * 80) for part in pattern.split("/")]


_VALUES: dict[str, _Reader] = {
    "mount": parse_mount,
    "from": mount_from,
    "device": parse_device,
    "mode": _mode,
    "owner": has_names,
    "ports": parse_ports,
    "wildcard": _wildcard,
    "duration": parse_duration,
    "size": ram_in_bytes,
    "check": parse_options,
}
_NAMES_OF_THINGS: dict[str, _Reader] = {
    "git": parse_git_reference,
    "reference": parse_reference,
    "platform": parse_platform,
}
_FLAGS: dict[str, _Reader] = {
    "output": lambda text: flags.output_flag([text]),
    "cache": lambda text: flags.cache_flag([text]),
    "secret": lambda text: flags.secret_flag([text]),
    "ssh": lambda text: flags.ssh_flag([text]),
    "attest": lambda text: flags.attest_flag([text]),
    "annotation": lambda text: flags.annotation_flag([text]),
    "ulimit": lambda text: limits.ulimit_flag([text]),
    "size": limits.size_flag,
    "resource": lambda text: limits.resource_flag([text]),
    "allow": lambda text: flags.allow_flag([text]),
    "add-host": lambda text: flags.add_host_flag([text]),
    "call": flags.call_flag,
    "build-context": lambda text: flags.build_context_flag([text], familiar=str),
}


def _dockerfiles() -> tuple[bytes, ...]:
    directories = [PROJECT / "tests" / "golden", PROJECT / "demo"]
    if (beside := find_beside("CONFORMANCE", "conformance", "cases")) is not None:
        directories.append(beside / "cases")
    paths = sorted(path for directory in directories for path in directory.rglob("*Dockerfile*"))
    texts = {path.read_bytes()[:8192] for path in paths if path.is_file()}
    return (*_OWN_DOCKERFILES, *sorted(texts))


_OWN_DOCKERFILES = (
    b"# syntax=docker/dockerfile:1\n# escape=`\nFROM base AS one\nRUN a `\n  b\n",
    b"FROM base\nRUN <<-'E' cat <<F\n\ta\n\tE\nb\nF\nCOPY --chmod=u+x <<\"A B\" /x\n$a\nA B\n",
    b"ARG v=1\nFROM --platform=$BUILDPLATFORM base AS s\nFROM s\nCOPY --from=s --link a b /c/\n",
    b"FROM base\nRUN --mount=type=cache,target=/c --mount=type=secret,id=s,env=S --network=none a\n",
    b'FROM base\nENV a=1 b="x y" c=${a:-\'z\'}\nLABEL x y\nEXPOSE 80/tcp $p\nVOLUME ["/a"]\n',
    b'FROM base\nHEALTHCHECK --interval=1m30s --retries=3 CMD ["a"]\nONBUILD RUN <<E\na\nE\n',
    b"FROM base\nADD --checksum=sha256:aa --unpack=true http://a/b.tgz https://a/b.git#c:d /x\n",
    b'FROM onbuild\nSHELL ["/bin/x","-c"]\nUSER a:b\nWORKDIR a/../b\nSTOPSIGNAL 9\nCMD a\n',
)
_DOCKERFILE_WORDS = tuple(
    rb"""FROM |ARG |RUN |COPY |ADD |ENV |LABEL |ONBUILD |HEALTHCHECK |CMD |ENTRYPOINT |SHELL |VOLUME
|EXPOSE |USER |WORKDIR |STOPSIGNAL |MAINTAINER |from |FROM base\n|FROM scratch\n| AS |NONE|--from=|--link
|--chmod=|--mount=|type=|bind|cache|secret|ssh|tmpfs|,|target=|=|$|${|}|:-|%|//|/|*|<<|<<-|EOF|\nEOF\n|<<A
|\nA\n|'|"| |\t|\r|\n|\r\n|\\\n|`\n|\\|`|[|]|["a"]|--|#|# escape=`\n|# check=skip=all\n|# syntax=a\n|\xef\xbb\xbf
|\xff|\xe3\x80\x80|\xc2\x85|\xc3\xa9|\x00|0|1|80/tcp|a|b|.|..|http://a/b|https://a/b.git|--checksum=
|--interval=|1s|--platform=|--network=|--exclude=|--parents|--chown=|--keep-git-dir|--unpack=|--security=
|--device=|--start-period=|\n#a\n|\n\n|base|onbuild""".replace(b"\n|", b"|")
    .decode("unicode_escape")
    .encode("latin-1")
    .split(b"|")
)


def _words(text: str) -> tuple[bytes, ...]:
    """Split at blanks; `_` stands for one."""
    return tuple(word.replace("_", " ").encode() for word in text.split())


def _texts(*texts: str) -> Callable[[], tuple[bytes, ...]]:
    return lambda: tuple(text.encode() for text in texts)


AREAS: Mapping[str, Area] = {
    "lexer": Area(_dockerfiles, _DOCKERFILE_WORDS, _check_lexer),
    "expansion": Area(
        _texts("$a ${b} '$c' \"$x\"", r"${long_Name1//o*/\}$0} \$a `$a", "${b%%/*}${a#?}${c:-$1}"),
        (
            *_words(
                r"$ ${ } $a ${a ${b ${c ${x ${n ${long_Name1 ${1 ${é $1 $é :- - :+ + :? ? # ## % %% / //"
                r" * ? \* \? \\ \/ \} \ ` ' \" _ __ < << a b c x y $$ $0 $@ {} : ¹ é ٣ \ufeff"
            ),
            *("\u3000".encode(), b"\n", b"\t", b"\xff", b"\x85"),
        ),
        _check_expansion,
    ),
    "ignore": Area(
        _texts(
            "**/*.a\n!a/b\n", "# a\n a/b/\n!a/../b/*\n", "[^a-c]?\n**\n!**/b\n", "\\*\n./a\n/b\n"
        ),
        (
            *_words(
                "* ** **/ /** / . .. ./ ../ ! !! ? [ ] [a-z] [^a] [b-] \\ \\* \\d ^ $ a b c .a _ # - : +"
            ),
            *(b"\n", b"\n!", b"\xef\xbb\xbf", b"\xff", b"\t", b"\r", b"[:alpha:]", b"a/b", b"\n/"),
        ),
        _check_ignore,
    ),
    "json": Area(
        _texts('"a", "b"]', r'"\u00e9\ud83d\ude00\n", "\ud800"]', "1e400]", "]", '"a"] x', "[[]]]"),
        (
            *_words(
                r'" "" [ ] { } , : \ \" \\ \/ \n \u \u00 \ud800 \udc00 \u0041 0 -1 1e9 true null NaN a _'
            ),
            *(b"\t", b"\r", b"\x00", b"\x1f", b"\xff", b"\xc3\xa9", b'"a",', b'"a"]', b"\xc2\xa0"),
        ),
        _check_json,
    ),
    "frontend": Area(_dockerfiles, _DOCKERFILE_WORDS, _check_frontend),
    "values": Area(
        _texts(
            "type=cache,target=/a,sharing=locked",
            "u=rwX,go+r",
            "1h2m3.5s",
            "skip=A;error=true",
            "[::1]:80-90:80-90/udp",
            "*a*[^b-c]?",
            "-1:root",
        ),
        _words(
            '" "" , = ; : type= cache secret ssh tmpfs bind target= source= id= from= $a size= 1m 0 -1 +1'
            " mode= uid= env= required readonly ro=false u g o a + - r w x X s t ns us ms h . 1e9 777 8"
            " * ? [ ] [^a-b] / \\\\ a*b* 80 80-90 /tcp [::1]: root skip= error= experimental= all true 99999999999999999999 é _"
        ),
        _refusing(_VALUES),
    ),
    "names": Area(
        _texts(
            "https://github.com/a/b.git#c:d",
            "git@a.b:c/d?ref=e&subdir=f",
            "a.b:5000/c/d:e",
            "linux/arm/v7",
        ),
        _words(
            "http:// https:// git:// ssh:// git@ github.com/ .git # ? & = : / // @ % %2 %zz %41 ref= tag="
            " subdir= checksum= sha256: 0123456789abcdef localhost :5000 [::1] [ ] linux windows arm64 v8"
            " (10.0) ( ) a b A . .. - _ é 0 99999999"
        ),
        _refusing(_NAMES_OF_THINGS),
    ),
    "flags": Area(
        _texts(
            "type=image,name=a,push=true",
            "type=local,dest=out",
            "id=a,src=b",
            "nofile=1:2",
            "a:1.2.3.4",
        ),
        _words(
            'type= dest= src= id= env= name= push= true , = : " "" - . / a b image local tar oci docker registry'
            " inline gha s3 mode=max memory= cpu- cpu-quota= nofile= 1 -1 1g 1.5k 99999999999999999999 index:"
            " manifest[ linux/amd64 ]: default= network.host device= security.insecure host-gateway [::1] é _"
            " check outline ,format=json git:// docker-image:// target: oci-layout://"
        ),
        _refusing(_FLAGS),
    ),
}
