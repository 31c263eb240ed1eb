"""The jobs of docs/guides/pipelines.md: their shell lines are run, with a registry of our own in place of theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.images.keys import write_key
from tests.support.machine.engines import SOURCE
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.runtime, pytest.mark.root]

PAGE = SOURCE.parent / "docs/guides/pipelines.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
INSTALLS = re.compile(r"\s*(?:pip|pipx) install")
SECRETS = re.compile(r"\$\{\{ secrets\.(\w+) \}\}")
SHARDS = ("linux/amd64", "linux/arm64")

Job = tuple[str, Mapping[str, str]]
"""A script, and the variables that it has."""


def document(kind: str, marker: str) -> Any:
    """Return the one block of a kind with a marker in it."""
    (found,) = [text for language, text in BLOCKS if language == kind and marker in text]
    return yaml.safe_load(found) if kind == "yaml" else found


def of_actions(marker: str, commit: str) -> Iterator[Job]:
    for job in document("yaml", marker)["jobs"].values():
        for step in job["steps"]:
            if "run" in step:
                yield step["run"], {**job["env"], **step.get("env", {}), "GITHUB_SHA": commit}


def of_gitlab() -> Iterator[Job]:
    pipeline = document("yaml", "before_script")
    variables = pipeline["variables"]
    for name in ("image", "shard", "join"):
        lines = [*pipeline["default"]["before_script"], *pipeline[name]["script"]]
        for platform in SHARDS if name == "shard" else ("",):
            yield "\n".join(lines), {**variables, "PLATFORM": platform}


def of_jenkins() -> Iterator[Job]:
    text = document("groovy", "pipeline {")
    variables = dict(re.findall(r"environment \{ (\w+) = '(.*)' \}", text))
    for long, short in re.findall(r"\bsh (?:'''(.*?)'''|'(.*?)')", text, re.DOTALL):
        yield long or short, variables


def of_tekton() -> Iterator[Job]:
    for step in document("yaml", "tekton.dev")["spec"]["steps"]:
        script = step["script"].replace("$(params.image)", "registry.example/you/app:tekton")
        yield script.replace("$(results.digest.path)", "tekton.digest"), {}


def of_kaniko() -> Iterator[Job]:
    for line in document("yaml", "/kaniko/executor")["kaniko"]["script"]:
        yield line.replace("/kaniko/executor", "bin/executor"), {}


@pytest.fixture
def runner(root: Person, registry: RealRegistry) -> Person:
    """A job of a CI in a checkout, with polyarch on its PATH."""
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\nCOPY greeting /\n")
    root.write("greeting", "hello\n")
    words = " ".join(root.command())
    root.write("bin/polyarch", f'#!/bin/sh\nexec {words} "$@"\n', 0o755)
    root.run("plugin", "install", "--kaniko", "--directory", "bin").check()
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example")
    root.run_other("git", "init", "-q").check()
    root.run_other(*git, "commit", "-q", "--allow-empty", "-m", "first").check()
    return root


def run(who: Person, registry: RealRegistry, jobs: Iterator[Job]) -> None:
    """Run jobs, but for what installs polyarch; stops at the first line that fails."""
    private, _ = write_key(who.home, "ecdsa")
    secrets = {
        "REGISTRY_PASSWORD": "of-the-registry",
        "COSIGN_KEY": Path(private).read_text(),
        "COSIGN_PASSWORD": "",
    }
    told = {
        "PATH": f"{who.work}/bin:{who.environment()['PATH']}",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "0",
        "REGISTRY_USER": "you",
        "REGISTRY_PASSWORD": secrets["REGISTRY_PASSWORD"],
        "CI_COMMIT_SHA": "gitlab",
        "CI_PROJECT_DIR": str(who.work),
        "BUILD_NUMBER": "7",
    }
    for script, variables in jobs:
        lines = [line for line in script.splitlines() if not INSTALLS.match(line)]
        known = {
            name: SECRETS.sub(lambda found: secrets[found[1]], value)
            for name, value in variables.items()
        }
        environ = {
            name: value.replace("registry.example", registry.host)
            for name, value in {**told, **known}.items()
        }
        text = "\n".join(lines).replace("registry.example", registry.host)
        replace(who, environ=environ).run_other("sh", "-e", "-c", text).check()


def tags(who: Person, registry: RealRegistry) -> set[str]:
    place = f"docker://{registry.host}/you/app"
    listed = who.run_other("skopeo", "list-tags", "--tls-verify=false", place).check().out
    return {each for each in json.loads(listed)["Tags"] if not each.startswith("sha256-")}


def test_they_run(runner: Person, registry: RealRegistry) -> None:
    run(runner, registry, of_actions("cache-from", "github"))
    run(runner, registry, of_actions("runs-on: docker", "gitea"))
    run(runner, registry, of_gitlab())
    run(runner, registry, of_jenkins())
    run(runner, registry, of_tekton())
    run(runner, registry, of_kaniko())

    assert tags(runner, registry) == {
        *("github", "latest", "gitea", "gitlab", "stable", "gitlab-all", "7", "tekton", "kaniko")
    }
    assert (runner.work / "build.env").read_text().startswith("changed=true\ndigest=sha256:")
    assert json.loads((runner.work / "verified.json").read_text())["verified"]
    assert (runner.work / "build.dockerbuild").stat().st_size
    for name in ("image.id", "tekton.digest", "digest"):
        assert (runner.work / name).read_text().startswith("sha256:")
    _, public = write_key(runner.home, "ecdsa")
    for tag in ("github", "latest"):
        runner.run("verify", "--pull", "--key", public, f"{registry.host}/you/app:{tag}").check()


def test_each_job_of_the_page_is_one_of_these() -> None:
    kinds = [language for language, _ in BLOCKS]

    assert kinds == ["yaml", "yaml", "yaml", "groovy", "yaml", "yaml"]
