"""Many builds as one graph: steps run nothing, all else is real."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest
from polyarch.errors import Cancelled, InputError
from polyarch.pipeline.bake import bake_on
from polyarch.progress import CancelToken, Event, Sink, StepEvent
from polyarch.record import replace
from polyarch.request.baked import BakeResult
from polyarch.request.make import make_request
from polyarch.request.values import BuildRequest, CacheEntry
from tests.support.fakes.engine import BASE, FakeEngine, fake_engine
from tests.support.images.trees import plant
from tests.support.network.web import Page, web_server

TWO = ("linux/amd64", "linux/arm64")
SHARED = f"""\
FROM --platform=$BUILDPLATFORM {BASE} AS tools
RUN prepare
FROM {BASE}
COPY --from=tools /ran/prepare /tools
ARG OWN
RUN $OWN
ENV KIND=$OWN
"""
ON = 'FROM base\nCOPY --from=other /tools /two\nCMD ["x"]\n'


class Site:
    """An engine, and what each build has told."""

    def __init__(self, engine: FakeEngine, directory: Path) -> None:
        self.engine = engine
        self.directory = directory
        self.events: dict[str, list[Event]] = {}
        self.cancel = CancelToken()

    def request(self, text: str, context: Path | None = None, **options: Any) -> BuildRequest:
        number = len(list(self.directory.glob("f*")))
        path = plant(self.directory, {f"f{number}": text}) / f"f{number}"
        fields = {"attestations": (), "dockerfile": str(path), **options}
        return make_request(context or self.directory, **fields)

    def sink(self, name: str) -> Sink:
        return self.events.setdefault(name, []).append

    def bake(self, *, keeps_going: bool = False, **requests: BuildRequest) -> BakeResult:
        return bake_on(
            self.engine, requests, sink=self.sink, cancel=self.cancel, keeps_going=keeps_going
        )

    def ran(self) -> Counter[str]:
        """How often each instruction ran, in all builds."""
        found = (event for events in self.events.values() for event in events)
        return Counter(
            each.name.partition("] ")[2]
            for each in found
            if isinstance(each, StepEvent) and each.completed and not each.cached and not each.error
        )

    def config(self, digest: Digest) -> dict[str, Any]:
        manifest = json.loads(self.engine.store.blobs.read(digest))
        found: dict[str, Any] = json.loads(
            self.engine.store.blobs.read(Digest(manifest["config"]["digest"]))
        )
        return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with fake_engine(tmp_path) as engine:
        (tmp_path / "context").mkdir()
        yield Site(engine, tmp_path / "context")


def errors(baked: BakeResult) -> Mapping[str, str]:
    return {name: str(error) for name, error in baked.errors.items()}


def test_what_builds_share_runs_once(site: Site) -> None:
    baked = site.bake(
        one=site.request(SHARED, platforms=TWO, build_args={"OWN": "one"}, tags="one"),
        two=site.request(SHARED, platforms=TWO, build_args={"OWN": "two"}, tags="two"),
        same=site.request(SHARED, platforms=TWO, build_args={"OWN": "two"}, tags="same"),
    )

    assert not baked.errors
    assert site.ran()["RUN prepare"] == 1
    assert site.ran()["RUN one"] == site.ran()["RUN two"] == 2
    assert baked.results["two"].manifests == baked.results["same"].manifests
    assert list(baked.results["two"].names) == ["docker.io/library/two:latest"]
    shown = [e.name for e in site.events["same"] if isinstance(e, StepEvent) and e.cached]
    assert "[linux/amd64 stage-1 3/3] RUN two" in shown


def test_a_build_goes_on_from_another_one(site: Site) -> None:
    baked = site.bake(
        on=site.request(
            ON,
            platforms=TWO,
            tags="on",
            build_contexts={"base": "target:one", "other": "target:two"},
        ),
        one=site.request(SHARED, platforms=TWO, build_args={"OWN": "one"}),
        two=site.request(SHARED, build_args={"OWN": "two"}, platforms=["linux/amd64"]),
    )

    assert not baked.errors
    assert site.ran()["RUN one"] == 2
    assert not any("export" in name or "load metadata for oci" in name for name in site.ran())
    config = site.config(baked.results["on"].manifests["linux/arm64"])
    assert config["architecture"] == "arm64"
    assert "KIND=one" in config["config"]["Env"]
    assert config["config"]["Cmd"] == ["x"]
    layers = [each for each in config["history"] if not each.get("empty_layer")]
    assert len(layers) == len(config["rootfs"]["diff_ids"]) == 4
    assert all("created" in each for each in config["history"])


def test_a_platform_that_the_other_build_lacks(site: Site) -> None:
    one = site.request(SHARED, platforms=TWO, build_args={"OWN": "one"})
    on = site.request(
        "FROM base", platforms=["linux/riscv64"], build_contexts={"base": "target:one"}
    )

    assert errors(site.bake(on=on, one=one)) == {"on": "target one isn't built for linux/riscv64"}


def test_contexts_of_one_name_are_not_mixed_up(site: Site, tmp_path: Path) -> None:
    other = plant(tmp_path / "other", {"a": "other"})
    plant(site.directory, {"a": "own"})
    copying = f"FROM {BASE}\nCOPY a /a\n"

    baked = site.bake(
        one=site.request(copying, tags="one"),
        two=site.request(copying, tags="two"),
        else_=site.request(copying, tags="else", context=other),
    )

    digests = {name: each.digest for name, each in baked.results.items()}
    assert digests["one"] == digests["two"] != digests["else_"]
    assert site.ran()["COPY a /a"] == 2


def test_a_context_of_a_web_server_is_fetched_once(site: Site) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, text in {"Dockerfile": f"FROM {BASE}\nCOPY a /a\n", "a": "far"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    with web_server() as web:
        web.pages["/x.tar"] = Page(data.getvalue())
        far = make_request(f"http://{web.host}/x.tar", attestations=(), platforms=TWO)
        baked = site.bake(one=far, two=replace(far, labels={"a": "b"}))

        assert not baked.errors
        assert len(web.asked) == 1


def test_a_step_that_two_share_is_pushed_to_a_cache_once(site: Site) -> None:
    cache = [CacheEntry(type="steps", attributes={"ref": "registry.test/cache"})]
    more: dict[str, Any] = {"cache_to": cache, "cache_from": cache}

    baked = site.bake(
        one=site.request(SHARED, build_args={"OWN": "one"}, **more),
        two=site.request(SHARED, build_args={"OWN": "two"}, **more),
    )

    assert not baked.errors
    uses = [use for each in baked.results.values() for use in each.caches]
    assert sorted(each.pushed for each in uses) == [1, 3]
    assert not any(each.trouble for each in uses)


@pytest.mark.parametrize("keeps_going", [True, False])
def test_a_failing_step_ends_what_needs_it(site: Site, keeps_going: bool) -> None:
    bad = f'FROM {BASE}\nRUN prepare\nRUN ["fail"]\n'
    baked = site.bake(
        keeps_going=keeps_going,
        on=site.request("FROM base", build_contexts={"base": "target:bad"}),
        bad=site.request(bad),
        same=site.request(bad + "RUN more\n"),
        good=site.request(SHARED, build_args={"OWN": "one"}),
    )

    assert errors(baked) == {"bad": "it failed", "same": "it failed"}
    assert list(baked.results) == (["good"] if keeps_going else [])


@pytest.mark.parametrize("keeps_going", [True, False])
def test_a_dockerfile_that_is_none_ends_what_needs_it(site: Site, keeps_going: bool) -> None:
    baked = site.bake(
        keeps_going=keeps_going,
        on=site.request("FROM base", build_contexts={"base": "target:bad"}),
        far=site.request("FROM base", build_contexts={"base": "target:on"}),
        bad=site.request("FORM x"),
        good=site.request(SHARED, build_args={"OWN": "one"}),
    )

    assert list(errors(baked)) == ["bad"]
    assert list(baked.results) == (["good"] if keeps_going else [])


def test_it_ends_when_the_caller_wants_it_to(site: Site) -> None:
    site.cancel.cancel()

    with pytest.raises(Cancelled):
        site.bake(one=site.request("FROM scratch"), two=site.request("FROM scratch"))


@pytest.mark.parametrize(
    ("contexts", "message"),
    [
        ({"a": "target:one"}, "the build of one needs itself: one -> one"),
        ({"a": "target:nosuch"}, "there is no target nosuch, which one is built on"),
    ],
)
def test_what_cannot_be_in_any_order(site: Site, contexts: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        site.bake(one=site.request("FROM a", build_contexts=contexts))


def test_history_has_a_record_of_each(site: Site) -> None:
    site.bake(
        keeps_going=True,
        one=site.request(SHARED, build_args={"OWN": "one"}),
        two=site.request(f'FROM {BASE}\nRUN ["fail"]\n'),
        on=site.request("FROM b", build_contexts={"b": "target:one"}),
    )

    kept = (site.engine.store.root / "history").glob("*.json")
    found = [json.loads(each.read_text()) for each in kept]
    assert len(found) == 3
    assert sum("error" in each for each in found) == 1
    assert sum("input:one" in json.dumps(each) for each in found) == 1


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_what_does_not_depend_on_a_failure_is_built(data: st.DataObject) -> None:
    """Targets that start from one another, in any shape; some can't be read, some have a step that fails."""
    texts = {"good": "RUN a\n", "step": 'RUN ["fail"]\n', "text": "NOSUCH\n"}
    keeps_going = data.draw(st.booleans())
    kinds: dict[str, str] = {}
    bases: dict[str, list[str]] = {}
    with TemporaryDirectory() as directory, fake_engine(Path(directory)) as engine:
        (Path(directory) / "context").mkdir()
        site = Site(engine, Path(directory) / "context")
        requests = {}
        for name in "abcde"[: data.draw(st.integers(2, 5))]:
            kinds[name] = data.draw(st.sampled_from(["good", "good", "step", "text"]))
            bases[name] = data.draw(st.lists(st.sampled_from(list(kinds)), max_size=2, unique=True))
            bases[name] = [each for each in bases[name] if each != name]
            copies = "".join(f"COPY --from={each} /ran/a /{each}\n" for each in bases[name])
            requests[name] = site.request(
                f"FROM {BASE}\n{copies}{texts[kinds[name]]}LABEL name={name}\n",
                build_contexts={each: f"target:{each}" for each in bases[name]},
            )
        baked = site.bake(keeps_going=keeps_going, **requests)

    def fails(name: str) -> bool:
        return kinds[name] != "good" or any(map(fails, bases[name]))

    own = {name for name, kind in kinds.items() if kind != "good"}
    assert set(baked.errors) <= own
    assert bool(baked.errors) == bool(own)
    assert not {name for name in baked.results if fails(name)}
    if keeps_going:
        assert set(baked.results) == {name for name in kinds if not fails(name)}
