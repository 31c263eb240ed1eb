from __future__ import annotations

import pytest

from polyarch.dockerfile.syntax.flags import FlagKind, parse_flags
from polyarch.errors import DockerfileError

KNOWN = {"from": FlagKind.TEXT, "link": FlagKind.BOOL, "exclude": FlagKind.TEXTS}


def test_flags_are_read() -> None:
    flags = parse_flags(("--from=a=b", "--link", "--exclude=x", "--exclude="), KNOWN)

    assert flags.text("from") == "a=b"
    assert flags.find_bool("link") is True
    assert flags.texts("exclude") == ("x", "")


def test_flags_that_were_not_given() -> None:
    flags = parse_flags((), KNOWN)

    assert flags.text("from", "default") == "default"
    assert flags.find_bool("link") is None
    assert flags.texts("exclude") == ()


def test_two_dashes_end_the_flags() -> None:
    assert parse_flags(("--link=FALSE", "--", "--nonsense"), KNOWN).find_bool("link") is False


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--form=a",), "unknown flag: --form (did you mean from?)"),
        (("--nonsense",), "unknown flag: --nonsense"),
        (("--FROM=a",), "unknown flag: --FROM"),
        (("--from",), "missing a value on flag: --from"),
        (("--exclude",), "missing a value on flag: --exclude"),
        (("--link=",), "missing a value on flag: --link"),
        (("--link=1",), "expecting boolean value for flag --link, not: 1"),
        (("--from=a", "--from=a"), "duplicate flag specified: --from"),
    ],
)
def test_flags_are_refused(flags: tuple[str, ...], message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_flags(flags, KNOWN)

    assert str(caught.value) == message
