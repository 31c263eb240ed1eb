"""`why` and `build --explain`: why a step ran, after real builds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images.baseimages import push_base
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry, git_daemon
from tests.support.network.web import Page, web_server

pytestmark = [pytest.mark.runtime, pytest.mark.root]

DOCKERFILE = """\
FROM {base} AS compile
RUN echo tools >/tools
ARG VERSION=1
COPY src/ /src/
RUN cat /src/* >/made
FROM scratch
COPY --from=compile /made /made
"""
COPY = "COPY src/ /src/"
MAKE = "RUN cat /src/* >/made"
TAKE = "COPY --from=compile /made /made"


@pytest.fixture
def project(root: Person, registry: RealRegistry) -> Person:
    """A Dockerfile of two stages and a source of two files."""
    root.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))
    root.write("src/main.c", "main\n")
    root.write("src/util.c", "util\n")
    return root


def build(who: Person, *words: str) -> str:
    """Build; return what is said of it below all progress."""
    return who.run(
        "build", "--explain", "--progress=quiet", "--platform=linux/amd64", "-o", "type=cacheonly",
        *words, ".",
    ).check().err  # fmt: skip


def reasons(text: str) -> dict[str, str]:
    """Return the reasons by instruction, without `not cached: `."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            head, _, reason = line.partition(": not cached: ")
            found[head.partition("] ")[2]] = reason
    return found


def after(who: Person, *words: str) -> dict[str, str]:
    return reasons(build(who, *words))


# --- the build context ---


def test_an_edited_file_is_named_for_every_step_that_ran(project: Person) -> None:
    build(project)
    project.write("src/main.c", "other\n")

    found = after(project)

    assert set(found) == {COPY, MAKE, TAKE}
    assert found[COPY].startswith("src/main.c differs (sha256:")
    assert found[MAKE] == f"{COPY} before it changed: {found[COPY]}"
    assert found[TAKE].startswith("/made differs (sha256:")


def test_a_new_file_is_named(project: Person) -> None:
    build(project)
    project.write("src/new.c", "new\n")

    assert after(project)[COPY] == "src/new.c is new"


def test_a_removed_file_is_named(project: Person) -> None:
    build(project)
    (project.work / "src/util.c").unlink()

    assert after(project)[COPY] == "src/util.c is gone"


def test_a_mode_is_told(project: Person) -> None:
    build(project)
    (project.work / "src/main.c").chmod(0o755)

    assert after(project)[COPY] == "the mode of src/main.c differs: 0644 → 0755"


def test_a_renamed_file_is_told_with_both_names(project: Person) -> None:
    build(project)
    (project.work / "src/util.c").rename(project.work / "src/help.c")

    assert after(project)[COPY] == "src/util.c was renamed to src/help.c"


def test_an_ignored_file_is_no_reason(project: Person) -> None:
    project.write(".dockerignore", "src/*.log\n")
    build(project)
    project.write("src/build.log", "noise\n")

    assert build(project) == "\nEvery step was cached.\n"


def test_what_a_mount_shows_is_named(project: Person) -> None:
    dockerfile = (project.work / "Dockerfile").read_text().partition("ARG")[0]
    project.write("Dockerfile", dockerfile + "RUN --mount=source=src,target=/m cat /m/*\n")
    build(project)
    project.write("src/main.c", "other\n")

    (reason,) = after(project).values()
    assert reason.startswith("src/main.c differs (sha256:")


# --- the Dockerfile and the flags ---


def test_a_build_argument_is_named_where_it_is_known(project: Person) -> None:
    build(project)

    found = after(project, "--build-arg=VERSION=2")

    assert found == {MAKE: "the build argument VERSION differs: 1 → 2"}


def test_an_argument_that_is_declared_later_is_no_reason(project: Person) -> None:
    build(project)
    with (project.work / "Dockerfile").open("a") as stream:
        stream.write("ARG LATER=1\n")

    assert after(project, "--build-arg=LATER=2") == {}


def test_a_proxy_is_no_reason(project: Person) -> None:
    build(project)

    assert after(project, "--build-arg=HTTP_PROXY=http://me:hidden@proxy") == {}


def test_a_variable_of_the_stage_below_is_named(project: Person) -> None:
    dockerfile = (project.work / "Dockerfile").read_text()
    project.write("Dockerfile", dockerfile.replace("ARG VERSION=1", "ENV MODE=a"))
    build(project)
    project.write("Dockerfile", dockerfile.replace("ARG VERSION=1", "ENV MODE=b"))

    assert after(project) == {MAKE: "the variable MODE differs: a → b"}


def test_the_text_of_an_instruction_is_told_with_what_stands_on_it(project: Person) -> None:
    build(project)
    path = project.work / "Dockerfile"
    path.write_text(path.read_text().replace("echo tools", "echo more tools"))

    found = after(project)

    old, new = "RUN echo tools >/tools", "RUN echo more tools >/tools"
    assert found[new] == f"the instruction differs: {old} → {new}"
    assert found[MAKE] == f"{new} before it changed: {found[new]}"


def test_the_way_from_the_reason_is_told_shortly(project: Person) -> None:
    build(project)
    path = project.work / "Dockerfile"
    path.write_text(path.read_text().replace("echo tools", "echo more tools"))

    assert f"    by way of {COPY}\n" in build(project)


def test_a_step_that_was_put_in_is_new(project: Person) -> None:
    build(project)
    path = project.work / "Dockerfile"
    path.write_text(path.read_text().replace("ARG", "RUN true\nARG"))

    found = after(project)

    assert found["RUN true"].startswith("no earlier build of this step")
    assert found[COPY] == f"RUN true before it ran again: {found['RUN true']}"


def test_a_step_that_was_taken_out_is_told(project: Person) -> None:
    build(project)
    path = project.work / "Dockerfile"
    path.write_text(path.read_text().replace("RUN echo tools >/tools\n", ""))

    assert after(project)[COPY].startswith("it stood on RUN echo tools >/tools, and stands on ")


def test_a_tag_that_moved_is_told_with_both_digests(
    root: Person, registry: RealRegistry, tmp_path: Path
) -> None:
    push_base(registry.host, "library/moving", ("amd64",), tmp_path / "base")
    root.write("Dockerfile", f"FROM {registry.host}/library/moving\nRUN true\n")
    build(root)
    (tmp_path / "base/amd64/news").write_text("news\n")
    push_base(registry.host, "library/moving", ("amd64",), tmp_path / "base")

    text = build(root, "--pull")

    start = f"the base image {registry.host}/library/moving:latest differs: sha256:"
    assert reasons(text)["RUN true"].startswith(start)
    assert "    also: --pull was given\n" in text


def test_another_platform_is_told(project: Person) -> None:
    build(project)

    found = after(project, "--platform=linux/arm64")

    assert set(found.values()) == {"the platform differs: linux/amd64 → linux/arm64"}


def test_two_platforms_have_a_reason_each(project: Person) -> None:
    both = "--platform=linux/amd64,linux/arm64"
    build(project, both)
    project.write("src/main.c", "other\n")

    build(project, both)
    shown = project.run("why", "Dockerfile:4").check().out.splitlines()[1:]

    assert [line.partition(" compile")[0].partition("[")[2] for line in shown] == [
        "linux/amd64",
        "linux/arm64",
    ]
    assert all("not cached: src/main.c differs" in line for line in shown)


def test_a_first_build_says_so(project: Person) -> None:
    assert set(after(project).values()) == {"no earlier build of this step"}


def test_no_cache_is_told(project: Person) -> None:
    build(project)

    assert set(after(project, "--no-cache").values()) == {"--no-cache was given"}


def test_a_stage_without_cache_is_told(project: Person) -> None:
    build(project)

    found = after(project, "--no-cache-filter=compile")

    assert found[MAKE] == "--no-cache-filter=compile was given"


def test_a_pruned_result_is_told(project: Person) -> None:
    build(project)
    project.run("prune", "--all", "--force").check()

    found = after(project)

    gone = "nothing differs, but its earlier result is gone: it was pruned or collected"
    assert found["RUN echo tools >/tools"] == gone
    assert found[COPY] == f"RUN echo tools >/tools before it ran again: {gone}"


def test_a_pruned_listing_leaves_no_names(project: Person) -> None:
    project.write("src/telling-name", "x\n")
    build(project)
    project.run("prune", "--all", "--force").check()

    assert project.run("why").complaint().startswith("ERROR: no build is known")
    project.write("src/main.c", "other\n")
    assert "the build context differs (its listing was collected)" in build(project)


def test_a_step_that_fails_is_explained(project: Person) -> None:
    build(project)
    path = project.work / "Dockerfile"
    path.write_text(path.read_text().replace("cat /src/*", "exit 3; cat /src/*"))

    ended = project.run("build", "--explain", "--progress=quiet", "--platform=linux/amd64", ".")

    assert ended.status == 1
    assert (
        "RUN exit 3; cat /src/* >/made (failed): not cached: the instruction differs" in ended.err
    )


def test_the_nearest_of_earlier_builds_counts(project: Person) -> None:
    build(project)
    build(project, "--build-arg=VERSION=2")
    project.write("src/main.c", "other\n")

    assert after(project)[MAKE].startswith(f"{COPY} before it changed: src/main.c differs")


# --- other machines ---


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a repository of one commit, and its directory."""
    directory = tmp_path / "repositories/app"
    directory.mkdir(parents=True)
    for words in ("init -q -b main", "config user.name me", "config user.email me@host"):
        git(directory, *words.split())
    commit(directory, "one\n")
    with git_daemon(directory.parent) as address:
        yield f"{address}/app", directory


def git(directory: Path, *words: str) -> str:
    ended = subprocess.run(
        ["git", *words], cwd=directory, check=True, capture_output=True, text=True
    )
    return ended.stdout.strip()


def commit(directory: Path, text: str) -> str:
    (directory / "file").write_text(text)
    git(directory, "add", ".")
    git(directory, "commit", "-q", "-m", "message")
    return git(directory, "rev-parse", "HEAD")


def test_another_commit_is_told(root: Person, repository: tuple[str, Path]) -> None:
    address, directory = repository
    old = git(directory, "rev-parse", "HEAD")
    root.write("Dockerfile", f"FROM scratch\nADD {address} /\n")
    build(root)
    new = commit(directory, "two\n")

    text = build(root)

    (reason,) = reasons(text).values()
    assert reason == f"the commit of {address} differs: {old[:12]} → {new[:12]}"
    assert "    also: file differs (sha256:" in text


def test_a_context_of_another_commit_is_told(root: Person, repository: tuple[str, Path]) -> None:
    address, directory = repository
    (directory / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    old = commit(directory, "one\n")
    words = ("build", "--explain", "--progress=quiet", "-o", "type=cacheonly", address)
    root.run(*words).check()
    new = commit(directory, "two\n")

    (reason,) = reasons(root.run(*words).check().err).values()

    assert reason == f"the commit of the build context differs: {old[:12]} → {new[:12]}"


def test_another_download_is_told(root: Person) -> None:
    with web_server() as web:
        web.pages["/file"] = Page(b"one\n")
        root.write("Dockerfile", f"FROM scratch\nADD {web.address}/file /\n")
        build(root)
        web.pages["/file"] = Page(b"two\n")

        (reason,) = after(root).values()

    assert reason.startswith(f"{web.address}/file differs (sha256:")


# --- how it is shown and asked for ---


def test_an_unchanged_build_leaves_all_as_it_was(project: Person) -> None:
    build(project)
    before = project.run("why", "--format=json").check().out

    assert build(project) == "\nEvery step was cached.\n"
    assert project.run("why", "--format=json").check().out == before


def test_the_plain_display_tells_at_once(project: Person) -> None:
    shown = project.run(
        "build", "--explain", "--progress=plain", "--platform=linux/amd64", "-o", "type=cacheonly", "."
    ).check()  # fmt: skip

    lines = shown.err.splitlines()
    start = lines.index("#6 [compile 3/4] COPY src/ /src/")
    assert lines[start + 1] == "#6 not cached: no earlier build of this step"
    assert "Why steps ran:" in lines


def test_without_explain_nothing_is_told(project: Person) -> None:
    shown = project.run("build", "--progress=plain", "--platform=linux/amd64", ".").check()

    assert "not cached" not in shown.err


def test_why_tells_what_explain_has_told(project: Person) -> None:
    build(project)
    project.write("src/main.c", "other\n")
    text = build(project)

    shown = project.run("why").check().out

    assert shown.startswith(f"Last build of {project.work} in which a step ran, ")
    assert reasons(shown) == reasons(text)


def test_numbers_are_those_of_the_plain_display(project: Person) -> None:
    project.run(
        "build", "--progress=plain", "--platform=linux/amd64", "-o", "type=cacheonly", "."
    ).check()

    shown = project.run("why", "#6").check().out.splitlines()

    assert shown[1].startswith("#6 [compile 3/4] COPY src/ /src/: not cached: ")


def test_a_cached_step_is_said_to_be_cached(project: Person) -> None:
    build(project)
    build(project, "--build-arg=VERSION=2")

    assert project.run("why", COPY).check().out.splitlines()[1].endswith(f"{COPY}: cached")


def test_json_has_the_causes(project: Person) -> None:
    build(project)
    build(project, "--build-arg=VERSION=2")

    read = json.loads(project.run("why", "--format=json").check().out)

    (step,) = read["steps"]
    assert (read["context"], step["line"], step["outcome"]) == (str(project.work), 5, "ran")
    assert step["causes"][0] == {
        "kind": "argument",
        "what": "VERSION",
        "old": "1",
        "new": "2",
        "step": "",
    }


def test_a_build_is_chosen_by_its_dockerfile(project: Person) -> None:
    project.write("Dockerfile.other", "FROM scratch\nCOPY src/util.c /\n")
    build(project, "-f", "Dockerfile.other")
    build(project)

    shown = project.run("why", "-f", "Dockerfile.other").check().out

    assert list(reasons(shown)) == ["COPY src/util.c /"]


def test_without_any_build_why_says_so(root: Person) -> None:
    assert root.run("why").complaint().startswith("ERROR: no build is known in which a step ran")


def test_secrets_and_contents_are_not_kept(project: Person) -> None:
    secret, content = "s3cr3t-of-mine", "content-of-a-file"
    dockerfile = (project.work / "Dockerfile").read_text().partition("ARG")[0]
    project.write("Dockerfile", dockerfile + "COPY src/ /src/\nRUN --mount=type=secret,id=s true\n")
    project.write("key", secret)
    project.write("src/main.c", content)
    build(project, "--secret=id=s,src=key")
    project.write("key", "another")

    assert build(project, "--secret=id=s,src=key") == "\nEvery step was cached.\n"
    stored = b"".join(each.read_bytes() for each in project.root.glob("state.db*"))
    assert secret.encode() not in stored
    assert content.encode() not in stored
