"""What `build` says of values that its flags can't have, to the letter, and in the last line.

Each text is that of docker buildx with BuildKit, unless the comment beside it says otherwise.
"""

from __future__ import annotations

import os
import shlex

import pytest

from tests.support.machine.programs import Person

pytestmark = [pytest.mark.runtime, pytest.mark.root]

SYNTAX = (
    "failed to build: empty BUILDKIT_SYNTAX build-arg is invalid, use --build-arg BUILDKIT_SYNTAX "
    "without '=' for optional behavior"
)
BOOL = 'strconv.ParseBool: parsing "x": invalid syntax'
SOLVE = "failed to build: failed to solve:"
LOWER = "repository name (library/BAD) must be lowercase"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--build-arg =X", 'invalid key-value pair "=X": empty key'),
        ("--build-arg ''", 'invalid key-value pair "": empty key'),
        ("--label =X", 'invalid key-value pair "=X": empty key'),
        ("--secret bad", "invalid field 'bad' must be a key=value pair"),
        ("--secret id=a,foo=1", "unexpected key 'foo' in 'foo=1'"),
        ("--secret type=x,id=a", 'unsupported secret type "x"'),
        ("--secret id=", "failed to build: secret missing ID"),
        ("--secret id=a,src=no", "failed to build: failed to stat no: stat no: no such file or directory"),
        ("--annotation bad", 'failed to build: parse annotations: invalid annotation "bad", expected key=value'),
        ("--annotation foo:a=1", 'failed to build: parse annotations: unknown annotation type "foo"'),
        ("--attest bad", "invalid value bad"),
        ("--attest disabled=1", "attestation type not specified"),
        ("--sbom maybe", "invalid value maybe"),
        ("--cache-from foo=1", 'type required for "foo=1"'),
        ("--cache-to foo=1", 'type required for "foo=1"'),
        ("--cache-from type=local,x", "invalid value x"),
        ("-o type=", "type is required for output"),
        ("-o type=local,x", "invalid value x"),
        ("-o '\"a'", 'parse error on line 1, column 2: extraneous or missing " in quoted-field'),
        ("-o type=bogus", f'{SOLVE} exporter "bogus" could not be found'),
        ("-o type=local", "failed to build: dest is required for local exporter"),
        ("-o type=oci,tar=false", "failed to build: dest is required for oci exporter"),
        ("-o type=local,dest=-", "failed to build: dest cannot be stdout for local exporter"),
        ("-o file", "failed to build: destination directory file is a file"),
        ("-o file/x", "failed to build: invalid destination directory: file/x: stat file/x: not a directory"),
        ("-o type=tar,dest=directory", "failed to build: destination file directory is a directory"),
        ("-o type=tar,dest=file/x", "failed to build: invalid destination file: file/x: stat file/x: not a directory"),
        ("-o type=oci,dest=file,tar=0", "failed to build: destination directory file is a file"),
        ("-o - -o type=oci", "failed to build: multiple outputs configured to write to stdout"),
        ("-o type=local,dest=o,mode=x", 'failed to build: invalid local exporter mode "x"'),
        ("-o type=local,dest=.,mode=delete", 'failed to build: local output mode=delete for destination "." requires --allow=buildx.local.delete'),
        ("-o type=local,dest=o,platform-split=x", f"{SOLVE} non-bool value for platform-split: x: {BOOL}"),
        ("-o type=oci,tar=x,dest=t", f"{SOLVE} non-bool value specified for tar: {BOOL}"),
        ("-o type=image,push=x", f"{SOLVE} non-bool value specified for push: {BOOL}"),
        ("-o type=image,oci-mediatypes=x", f"{SOLVE} non-bool value specified for oci-mediatypes: {BOOL}"),
        ("-o type=image,compression=x", f"{SOLVE} unsupported compression type x"),
        ("-o type=image,compression-level=x", f'{SOLVE} non-integer value x specified for compression-level: strconv.ParseInt: parsing "x": invalid syntax'),
        # BuildKit says the reason twice.
        ("-o type=image,source-date-epoch=x", f'{SOLVE} invalid source-date-epoch: strconv.ParseInt: parsing "x": invalid syntax'),
        ("-o type=image,name=BAD", f'{SOLVE} failed to parse ref "BAD": invalid reference format: {LOWER}'),
        ("-o type=registry", "failed to build: tag is needed when pushing to registry"),
        ("--iidfile=i -o out", "local and tar exporters are incompatible with image ID file"),
        ("--ulimit nofile=2:1", 'invalid argument "nofile=2:1" for "--ulimit" flag: ulimit soft limit must be less than or equal to hard limit: 2 > 1'),
        ("--ulimit bogus=1", 'invalid argument "bogus=1" for "--ulimit" flag: invalid ulimit type: bogus'),
        ("--shm-size bad", "invalid argument \"bad\" for \"--shm-size\" flag: invalid size: 'bad'"),
        ("--cpu-shares bad", 'failed to build: invalid value "bad" for resource cpu-shares: strconv.ParseInt: parsing "bad": invalid syntax'),
        ("--add-host bad", "failed to build: invalid host bad"),
        ("--add-host h=1.2.3", "failed to build: invalid host h=1.2.3"),
        ("--build-context bad", "invalid context value: bad, expected key=value"),
        ("--build-context BAD=.", f"invalid context name BAD: invalid reference format: {LOWER}"),
        ("--build-context a=x://y", "failed to build: failed to get build context a: stat x://y: no such file or directory"),
        ("--metadata-file directory", "cannot write to a directory"),
        ("-t BAD", 'failed to build: invalid tag "BAD": repository name must be lowercase'),
        ("-t ''", 'failed to build: invalid tag "": repository name must have at least one component'),
        ("-t a:b:c", 'failed to build: invalid tag "a:b:c": invalid reference format'),
        ("--platform all", 'failed to build: "all": unknown operating system or architecture: invalid argument'),
        # Others than ours speak of "buildkit" and of settings of their drivers.
        ("--network bogus", 'failed to build: network mode "bogus" is not supported'),
        ("--allow bogus", "failed to build: unknown entitlement bogus"),
        ("--allow buildx.local.delete=1", "failed to build: buildx.local.delete does not accept a value"),
        ("--progress bogus", "invalid progress mode bogus"),
        ("--progress plain -q", "progress=plain and quiet cannot be used together"),
        ("--progress tty", "failed to get console: provided file is not a console"),
        ("--call check,bogus=1", "invalid print field: bogus=1"),
        # BuildKit says it twice.
        ("--call bogus", f"{SOLVE} unsupported request frontend.bogus"),
        ("--builder nope", 'no builder "nope" found'),
        ("--build-arg BUILDKIT_SYNTAX=", SYNTAX),
        ("--build-arg 'BUILDKIT_SYNTAX= '", SYNTAX),
        ("--no-cache=maybe", 'invalid argument "maybe" for "--no-cache" flag: strconv.ParseBool: parsing "maybe": invalid syntax'),
        ("--bogus", "unknown flag: --bogus"),
        ("-x", "unknown shorthand flag: 'x' in -x"),
    ],
)  # fmt: skip
def test_the_last_line_is_what_buildx_says(root: Person, words: str, said: str) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY file /\n")
    root.write("file", "")
    os.mkdir(root.work / "directory")

    ended = root.run("build", *shlex.split(words), ".")

    assert (ended.status, ended.err.splitlines()[-1]) == (1, f"ERROR: {said}")


@pytest.mark.parametrize("mode", ["plain", "rawjson", "none", "quiet", "auto"])
def test_the_last_line_is_the_error_however_progress_is_shown(root: Person, mode: str) -> None:
    root.write("Dockerfile", "FROM scratch\nFOO\n")

    ended = root.run("build", f"--progress={mode}", ".")

    error = "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)"
    assert ended.err.splitlines()[-2:] == ["-" * 20, f"ERROR: {SOLVE} {error}"]


def test_quiet_progress_prints_what_quiet_does(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")

    said = [root.run("build", "-t", "q", flag, ".").check() for flag in ("-q", "--progress=quiet")]
    nothing = root.run("build", "-t", "q", "--progress=none", ".").check()

    assert said[0].out == said[1].out
    assert said[0].out.startswith("sha256:")
    assert (said[1].err, nothing.out, nothing.err) == ("", "", "")


def test_files_about_a_result_are_written_where_buildx_writes_them(root: Person) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")

    root.run("build", "-t", "app", "--metadata-file=no/such/m", ".").check()
    refused = root.run("build", "-t", "app", "--iidfile=no/such2/i", ".")

    assert (root.work / "no/such/m").is_file()
    assert refused.err.splitlines()[-1] == (
        "ERROR: writing image ID file: can't write no/such2/i: No such file or directory"
    )
