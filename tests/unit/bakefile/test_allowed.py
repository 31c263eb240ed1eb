"""What a definition may do without being allowed to: nothing beyond files below the current directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.bakefile.allowed import Allowed, missing, read_allowed, with_changes
from polyarch.bakefile.definition import Surroundings, parse_files
from polyarch.bakefile.files import File
from polyarch.errors import InputError


def wanted(attribute: str, *allow: str, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    text = f'target "default" {{\n  {attribute}\n}}'
    around = Surroundings(environ={}, directory=None)
    plan = parse_files([File(name="x.hcl", text=text)], around).plan(("default",), (), {})
    return missing(plan, read_allowed(allow), environ or {}, is_remote=False).values


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (inner / "link").symlink_to(tmp_path / "a")
    monkeypatch.chdir(inner)
    return tmp_path


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ('context = ".."', "fs.read=.."),
        ('context = "link"', "fs.read={root}/a"),
        ('dockerfile = "../Dockerfile"', "fs.read=.."),
        ('contexts = { x = "../../y" }', "fs.read={root}/a"),
        ('contexts = { x = "oci-layout:///etc/x:tag" }', "fs.read=/etc"),
        ('secret = ["id=s,src=/etc/passwd"]', "fs.read=/etc/passwd"),
        ('secret = ["id=/etc/shadow"]', "fs.read=/etc/shadow"),
        ('cache-from = ["type=local,src=/var/c"]', "fs.read=/var"),
        ('cache-to = ["type=local,dest=/var/c"]', "fs.write=/var"),
        ('output = ["type=local,dest=/var/o"]', "fs.write=/var"),
        ('output = ["type=oci,dest=../o.tar"]', "fs.write=.."),
        ('ssh = ["default"]', "ssh"),
        ('ssh = ["default=/keys/id"]', "fs.read=/"),
        ('network = "host"', "network.host"),
        ('entitlements = ["security.insecure"]', "security.insecure"),
        ('entitlements = ["device=x/y=z"]', "device=x/y=z"),
        ('output = ["type=local,dest=o,mode=delete"]', "buildx.local.delete"),
    ],
)
def test_each_privilege_is_asked_for_and_may_be_allowed(
    attribute: str, value: str, here: Path
) -> None:
    value = value.format(root=here)

    assert value in wanted(attribute)
    assert value not in wanted(attribute, value, "device")


def test_files_below_the_current_directory_need_nothing() -> None:
    assert (
        wanted('context = "sub"\n  output = ["out"]\n  secret = ["id=s,src=f", "id=e,env=E"]') == ()
    )


def test_everything_may_be_allowed_at_once() -> None:
    assert wanted('context = "/"\n  output = ["/x"]', "fs=*") == ()
    assert wanted('context = "/"', environ={"BUILDX_BAKE_ENTITLEMENTS_FS": "0"}) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fs.raed=x", 'unknown entitlement key "fs.raed" (did you mean fs.read?)'),
        ("buildx.local.delete=1", "buildx.local.delete does not accept a value"),
    ],
)
def test_unknown_privileges_are_refused(value: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_allowed([value])

    assert str(caught.value) == message


def test_what_the_user_sets_is_allowed() -> None:
    changes = (
        "*.cache-to=type=local,dest=/c", "a.cache-from=type=local,src=/f", "a.output=type=oci,dest=/o",
        "a.output=", "a.ssh=default=/k", "a.secret.s=src=/s", "a.secrets=id=t,src=/t",
        "a.entitlements=network.host", "a.entitlements+=security.insecure", "a.context=/x", "a.args.V",
    )  # fmt: skip

    assert with_changes(Allowed(), changes) == Allowed(
        network_host=True,
        security_insecure=True,
        reads=("/f", "/k", "/s", "/t"),
        writes=("/c", "/o"),
    )


def test_what_is_not_there_yet_is_not_allowed_by_its_own_name(here: Path) -> None:
    output = f'output = ["type=local,dest={here}/not/there"]'

    assert wanted(output, f"fs.write={here}/not/there") == (f"fs.write={here}",)
    assert wanted(output, f"fs.write={here}") == ()
