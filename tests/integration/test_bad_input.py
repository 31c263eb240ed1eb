"""Bad command lines, Dockerfiles and build contexts: what is wrong, where, and what to do next."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.support.machine.engines import User
from tests.support.machine.programs import Person, person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

NAMED = "an image is named [registry/]repository[:tag][@sha256:digest], in lower case"
SOLVE = "ERROR: failed to build: failed to solve: "


def excerpt(line: int, *lines: str, first: int = 1) -> str:
    """Return the part of a Dockerfile that an error shows, `line` marked."""
    shown = (
        f" {number:3} | {'>>>' if number == line else '   '} {text}"
        for number, text in enumerate(lines, first)
    )
    return "\n".join([f"Dockerfile:{line}", "-" * 20, *shown, "-" * 20, ""])


# What is found before anybody is asked for an image: the Dockerfile, where, what, what next.
DOCKERFILES = {
    "an empty file": (
        "",
        excerpt(1, ""),
        "the Dockerfile cannot be empty",
        "a Dockerfile begins with FROM and the name of an image",
    ),
    "nothing but a comment": (
        "# nothing\n",
        excerpt(1, "# nothing", ""),
        "file with no instructions",
        "a Dockerfile begins with FROM and the name of an image",
    ),
    "no stage": (
        "ARG x=1\n",
        excerpt(1, "ARG x=1", ""),
        "dockerfile contains no stages to build",
        "a Dockerfile needs a FROM instruction",
    ),
    "an instruction before FROM": (
        "RUN true\nFROM scratch\n",
        excerpt(1, "RUN true", "FROM scratch", ""),
        "no build stage in current context",
        "only ARG may stand before the first FROM",
    ),
    "a missing argument": (
        "FROM scratch\nENV\nUSER x\n",
        excerpt(2, "FROM scratch", "ENV", "USER x", ""),
        "dockerfile parse error on line 2: ENV requires at least one argument",
        "",
    ),
    "a bad pair": (
        "FROM scratch\nENV a=1 b\n",
        excerpt(2, "FROM scratch", "ENV a=1 b", ""),
        'Syntax error - can\'t find = in "b". Must be of the form: name=value',
        "",
    ),
    "an unknown instruction": (
        "FROM scratch\nRUM true\n",
        excerpt(2, "FROM scratch", "RUM true", ""),
        "dockerfile parse error on line 2: unknown instruction: RUM (did you mean RUN?)",
        "",
    ),
    "an instruction like no other": (
        "FROM scratch\nXYZZY true\n",
        excerpt(2, "FROM scratch", "XYZZY true", ""),
        "dockerfile parse error on line 2: unknown instruction: XYZZY",
        "",
    ),
    "an unknown flag": (
        "FROM scratch\nCOPY --chwn=1 a /\n",
        excerpt(2, "FROM scratch", "COPY --chwn=1 a /", ""),
        "dockerfile parse error on line 2: unknown flag: --chwn (did you mean chown?)",
        "",
    ),
    "an open here-document": (
        "FROM scratch\nCOPY <<EOT /x\n",
        excerpt(2, "FROM scratch", "COPY <<EOT /x", ""),
        "unterminated heredoc",
        "",
    ),
    "a bad duration": (
        "FROM scratch\nHEALTHCHECK --interval=soon CMD x\n",
        excerpt(2, "FROM scratch", "HEALTHCHECK --interval=soon CMD x", ""),
        'dockerfile parse error on line 2: time: invalid duration "soon"',
        "",
    ),
    "a bad port": (
        "FROM scratch\nEXPOSE web\n",
        excerpt(2, "FROM scratch", "EXPOSE web", ""),
        "invalid containerPort: web",
        "write 80, 80/udp or 8000-8010",
    ),
    "a base that is a variable of no value": (
        "ARG BASE\nFROM $BASE\n",
        excerpt(2, "ARG BASE", "FROM $BASE", ""),
        "base name ($BASE) should not be blank",
        "give BASE a value: --build-arg BASE=IMAGE, or a default in its ARG",
    ),
    "a base that is an unknown variable": (
        "ARG BASE=scratch\nFROM $BAES\n",
        excerpt(2, "ARG BASE=scratch", "FROM $BAES", ""),
        "base name ($BAES) should not be blank",
        "no ARG before the first FROM declares BAES (did you mean BASE?)",
    ),
    "a platform that is a variable of no value": (
        "FROM --platform=$TARGTPLATFORM scratch\n",
        excerpt(1, "FROM --platform=$TARGTPLATFORM scratch", ""),
        "empty platform value from expression $TARGTPLATFORM (did you mean TARGETPLATFORM?)",
        "",
    ),
    "checks that are none": (
        "# check=skip\nFROM scratch\n",
        excerpt(1, "# check=skip", "FROM scratch", ""),
        'failed to parse check options: invalid check option "skip"',
        "write check=skip=RULE, without blanks",
    ),
    "a base in upper case": (
        "FROM Foo/Bar\n",
        excerpt(1, "FROM Foo/Bar", ""),
        (
            'failed to parse stage name "Foo/Bar": '
            "invalid reference format: repository name (Bar) must be lowercase"
        ),
        "an image is named [registry/]repository[:tag][@sha256:digest], in lower case",
    ),
    "a stage by a number that none has": (
        "FROM scratch AS a\nFROM scratch\nCOPY --from=7 /x /\n",
        excerpt(3, "FROM scratch AS a", "FROM scratch", "COPY --from=7 /x /", ""),
        "invalid stage index 7",
        "the stages are numbered from 0 to 1",
    ),
    "stages in a circle": (
        "FROM scratch AS a\nCOPY --from=b /x /\nFROM scratch AS b\nCOPY --from=a /x /\n",
        excerpt(4, "COPY --from=b /x /", "FROM scratch AS b", "COPY --from=a /x /", "", first=2),
        "circular dependency detected on stage: a",
        "each needs the next: a -> b -> a",
    ),
    "a stage of itself": (
        "FROM scratch AS a\nCOPY --from=a /x /\n",
        excerpt(2, "FROM scratch AS a", "COPY --from=a /x /", ""),
        "circular dependency detected on stage: a",
        "each needs the next: a -> a",
    ),
    "insecure mode": (
        "FROM scratch\nRUN --security=insecure true\n",
        excerpt(2, "FROM scratch", "RUN --security=insecure true", ""),
        "security.insecure is not allowed",
        "add --allow security.insecure to the command",
    ),
}


@pytest.mark.parametrize("case", DOCKERFILES)
def test_a_bad_dockerfile(root: Person, case: str) -> None:
    text, where, what, hint = DOCKERFILES[case]
    root.write("Dockerfile", text)

    ended = root.run("build", ".")

    hinted = f"hint: {hint}\n" if hint else ""
    assert (ended.status, ended.complaint()) == (1, f"{where}{SOLVE}{what}\n{hinted}")


# What the command line gets wrong: its words, and what is said.
FLAGS = {
    "an unknown platform": (
        ("--platform=foo",),
        (
            'failed to build: "foo": unknown operating system or architecture: invalid argument\n'
            "hint: a platform is os/architecture[/variant], such as linux/arm64 or linux/arm/v7"
        ),
    ),
    "a tag in upper case": (
        ("-t", "Foo/Bar"),
        (
            'failed to build: invalid tag "Foo/Bar": repository name must be lowercase\n'
            f"hint: {NAMED}"
        ),
    ),
    "a tag that is none": (
        ("-t", "a b"),
        f"failed to build: invalid tag \"a b\": invalid reference format\nhint: 'a b': {NAMED}",
    ),
    "a push without a name": (
        ("--push",),
        "failed to build: tag is needed when pushing to registry\nhint: give the image a tag",
    ),
    "a push and nothing that can be pushed": (
        ("--push", "-o", "type=local,dest=out"),
        "failed to build: tag is needed when pushing to registry\nhint: give the image a tag",
    ),
    "an unknown output": (
        ("-o", "type=foo"),
        (
            'failed to build: failed to solve: exporter "foo" could not be found\n'
            "hint: use one of cacheonly, docker, image, local, oci, registry, tar"
        ),
    ),
    "an output without a place": (
        ("-o", "type=local"),
        (
            "failed to build: dest is required for local exporter\nhint: name a directory: dest=DIRECTORY"
        ),
    ),
    "an output that is no pair": (
        ("-o", "type=local,dest"),
        "invalid value dest\nhint: write NAME=VALUE, several with commas",
    ),
    "an image ID of a directory": (
        ("-o", "out", "--iidfile", "id"),
        (
            "local and tar exporters are incompatible with image ID file\n"
            "hint: files have no image ID: leave --iidfile out, or write an image: -o type=oci,dest=FILE"
        ),
    ),
    "a build argument without a name": (
        ("--build-arg", "=x"),
        'invalid key-value pair "=x": empty key\nhint: write NAME=value',
    ),
    "a label without a name": (
        ("--label", "=x"),
        'invalid key-value pair "=x": empty key\nhint: write NAME=value',
    ),
    "no cache and a filter": (
        ("--no-cache", "--no-cache-filter", "a"),
        "failed to build: --no-cache and --no-cache-filter cannot currently be used together",
    ),
    "a secret whose file is missing": (
        ("--secret", "id=x,src=/no/such/file"),
        "failed to build: failed to stat /no/such/file: stat /no/such/file: no such file or directory",
    ),
    "a secret without an id": (
        ("--secret", "src=/etc/hostname"),
        "failed to build: secret missing ID\nhint: write --secret id=NAME,src=FILE",
    ),
    "a secret of an unknown type": (
        ("--secret", "id=x,type=foo"),
        'unsupported secret type "foo"\nhint: use one of env, file',
    ),
    "an unknown network": (
        ("--network", "foo"),
        (
            'failed to build: network mode "foo" is not supported\n'
            "hint: a step has the network of the host or none: default, host or none"
        ),
    ),
    "an unknown limit": (
        ("--ulimit", "memlok=1"),
        (
            'invalid argument "memlok=1" for "--ulimit" flag: invalid ulimit type: memlok\n'
            "hint: did you mean memlock?"
        ),
    ),
    "a display that there is not": (
        ("--progress=foo",),
        ("invalid progress mode foo\nhint: use one of auto, none, plain, quiet, rawjson, tty"),
    ),
    "a build context without a value": (
        ("--build-context", "x"),
        "invalid context value: x, expected key=value",
    ),
    "a build context that is missing": (
        ("--build-context", "x=/no/such"),
        (
            "failed to build: failed to get build context x: stat /no/such: no such file or directory\n"
            "hint: --build-context x=... names a directory, a repository, a web "
            "address, an image as docker-image://, or a layout as oci-layout://"
        ),
    ),
    "an unknown flag": (
        ("--platfrom=linux/arm64",),
        (
            "unknown flag: --platfrom (did you mean --platform?)\n\nUsage:  polyarch build [OPTIONS] PATH | URL | -\n\n"
            "Run 'polyarch build --help' for more information"
        ),
    ),
    "a number that is none": (
        ("--jobs=many",),
        (
            'invalid argument "many" for "--jobs" flag: '
            'strconv.ParseInt: parsing "many": invalid syntax'
        ),
    ),
    "an unknown stage": (
        ("--target=fnal",),
        (
            'failed to build: failed to solve: target stage "fnal" could not be found '
            "(did you mean final?)\nhint: the Dockerfile has first, final"
        ),
    ),
    "a Dockerfile that is missing": (
        ("-f", "nofile"),
        (
            "failed to build: failed to solve: failed to read dockerfile: "
            "open nofile: no such file or directory\nhint: looked for nofile; name another one with -f"
        ),
    ),
}


@pytest.mark.parametrize("case", FLAGS)
def test_a_bad_command_line(root: Person, case: str) -> None:
    words, said = FLAGS[case]
    root.write("Dockerfile", "FROM scratch AS first\nFROM scratch AS final\nCOPY Dockerfile /\n")

    ended = root.run("build", *words, ".")

    assert (ended.status, ended.complaint()) == (1, f"ERROR: {said}\n")
    assert not (root.work / "out").exists()


def test_no_dockerfile(root: Person) -> None:
    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        f"{SOLVE}failed to read dockerfile: open Dockerfile: no such file or directory\n"
        "hint: looked for Dockerfile; name another one with -f\n"
    )


@pytest.mark.parametrize(
    ("path", "problem"), [("/no/such", "not found"), ("/etc/passwd", "is no directory")]
)
def test_no_context(root: Person, path: str, problem: str) -> None:
    ended = root.run("build", path)

    assert ended.status == 1
    assert ended.complaint() == (
        f'ERROR: failed to build: unable to prepare context: path "{path}" {problem}\n'
        "hint: the last argument is the directory of the build context, often a single dot\n"
    )


def test_no_such_command(root: Person) -> None:
    ended = root.run("buidl", ".")

    assert ended.status == 1
    assert ended.err == (
        "hint: polyarch --help lists the commands\n"
        'ERROR: unknown command: "buidl" (did you mean build?)\n'
    )


def test_a_stage_that_is_misspelt(root: Person) -> None:
    root.environ["https_proxy"] = "http://127.0.0.1:1"  # there is no way to Docker Hub
    root.write("Dockerfile", "FROM scratch AS build\nFROM scratch\nCOPY --from=biuld /x /\n")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(3, "FROM scratch AS build", "FROM scratch", "COPY --from=biuld /x /", "")
        + f"{SOLVE}can't reach the registry at registry-1.docker.io: "
        "[Errno 111] Connection refused (did you mean build?)\n"
        "hint: no stage has that name, so it was taken for an image\n"
    )


def test_a_base_image_without_the_platform(root: Person, registry: RealRegistry) -> None:
    base = f"{registry.host}/library/busybox"
    root.write("Dockerfile", f"FROM {base}\nRUN true\n")

    ended = root.run("build", "--platform=linux/s390x", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(1, f"FROM {base}", "RUN true", "")
        + f"{SOLVE}{base}: no match for platform in manifest: linux/s390x not found\n"
        "hint: the image is for linux/amd64, linux/arm64, linux/arm/v7\n"
    )


@pytest.mark.parametrize("name", ["library/busybox:nope", "no/such:latest"])
def test_a_base_image_that_is_not_there(root: Person, registry: RealRegistry, name: str) -> None:
    base = f"{registry.host}/{name}"
    root.write("Dockerfile", f"FROM {base}\n")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(1, f"FROM {base}", "")
        + f"{SOLVE}{base}: not found\nhint: check the name and the tag of the image\n"
    )


# What COPY can't find: the instruction, the path that is named, what next.
SOURCES = {
    "missing": (
        "COPY nope /",
        "/nope",
        "looked in {work}; paths are relative to the build context",
    ),
    "in another case": ("COPY There /", "/There", "did you mean there?"),
    "absolute": (
        "COPY /etc/passwd /",
        "/etc/passwd",
        "looked in {work}; paths are relative to the build context",
    ),
    "out of the context": (
        "COPY ../secret /",
        "/secret",
        "a path can't lead out of the build context, {work}: build with a directory above",
    ),
    "ignored": (
        "COPY ignored /",
        "/ignored",
        "the file is there, but the ignore file leaves it out of the build context",
    ),
    "not in the stage": (
        "COPY --from=a /nope /",
        "/nope",
        "the path must exist in the stage or image that --from names",
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_is_not_there(root: Person, case: str) -> None:
    instruction, path, hint = SOURCES[case]
    root.write("there", "1")
    root.write("ignored", "1")
    root.write("../secret", "1")
    root.write(".dockerignore", "ignored\n")
    lines = ("FROM scratch AS a", "COPY there /", "FROM scratch", instruction, "")
    root.write("Dockerfile", "\n".join(lines))

    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(4, *lines[1:], first=2)
        + f'{SOLVE}"{path}": not found\nhint: {hint.format(work=root.work)}\n'
    )


def test_a_link_out_of_the_context_is_followed_inside_of_it(root: Person) -> None:
    root.write("../secret", "1")
    (root.work / "link").symlink_to("../secret")
    root.write("Dockerfile", "FROM scratch\nCOPY link/x /\n")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert f'{SOLVE}"/link/x": not found\n' in ended.complaint()


@pytest.mark.parametrize(("path", "mode"), [("private", 0o600), ("private/file", 0o700)])
def test_what_cannot_be_read(
    user_with_many_ids: User, tmp_path: Path, path: str, mode: int
) -> None:
    who = person(user_with_many_ids, tmp_path / "home")
    who.write(path, "1")
    (who.work / "private").chmod(mode)
    os.chown(who.work / "private", 0, 0)
    who.write("Dockerfile", "FROM scratch\nCOPY . /\n")

    ended = who.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(2, "FROM scratch", "COPY . /", "")
        + f"{SOLVE}can't read {who.work}/private of the build context: Permission denied\n"
        "hint: fix its permissions, or leave it out by .dockerignore\n"
    )


def test_a_dockerfile_that_cannot_be_read(user_with_many_ids: User, tmp_path: Path) -> None:
    who = person(user_with_many_ids, tmp_path / "home")
    os.chown(who.write("Dockerfile", "FROM scratch\n", 0o600), 0, 0)

    ended = who.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        f"{SOLVE}failed to read dockerfile: open Dockerfile: permission denied\n"
        "hint: looked for Dockerfile; name another one with -f\n"
    )


@pytest.mark.parametrize("output", ["out", "type=tar,dest=out", "type=oci,dest=out"])
def test_an_output_that_cannot_be_written(
    user_with_many_ids: User, tmp_path: Path, output: str
) -> None:
    who = person(user_with_many_ids, tmp_path / "home")
    who.write("closed/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    os.chown(who.work / "closed", 0, 0)

    ended = who.run("build", "-o", output.replace("out", "closed/out"), "closed")

    assert ended.status == 1
    assert re.fullmatch(
        f"{SOLVE}can't write to closed/out: Permission denied\nhint: .*\n", ended.complaint()
    )


@pytest.mark.parametrize("kind", ["tar", "oci"])
def test_an_archive_to_the_terminal(root: Person, kind: str) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
    line = shlex.join(root.command("build", "--progress=plain", "-o", f"type={kind}", "."))

    ended = root.run_other("script", "--quiet", "--return", "--command", line, "/dev/null")

    assert ended.status == 1
    assert ended.out.replace("\r", "").endswith(
        "hint: name a file with dest=FILE, or redirect standard output\n"
        f"ERROR: failed to build: dest file is required for {kind} exporter. "
        "refusing to write to console\n"
    )


def test_a_mode_that_is_none(root: Person) -> None:
    root.write("there", "1")
    root.write("Dockerfile", "FROM scratch\nCOPY --chmod=rwx there /\n")

    ended = root.run("build", ".")

    assert ended.status == 1
    assert ended.complaint() == (
        excerpt(2, "FROM scratch", "COPY --chmod=rwx there /", "")
        + f"{SOLVE}invalid chmod parameter: 'rwx': invalid syntax\n"
        "hint: give an octal mode up to 07777, or a symbolic one such as u=rwX,go=rX\n"
    )


def test_standard_output_on_a_full_disk(root: Person) -> None:
    ended = root.run_other("sh", "-c", 'exec "$@" >/dev/full', "sh", *root.command("ls"))

    assert ended.status == 1
    assert ended.err == "ERROR: can't write to standard output: No space left on device\n"
