"""What must be the same of a Dockerfile that was printed and parsed again."""

from __future__ import annotations

from polyarch.dockerfile.parser import Dockerfile, parse
from polyarch.dockerfile.printer import print_dockerfile
from polyarch.graph.location import SourceText

__all__ = ["check_printing", "meaning", "parsed"]


def parsed(text: str) -> Dockerfile:
    return parse(SourceText(name="Dockerfile", text=text))


def meaning(dockerfile: Dockerfile) -> tuple[object, ...]:
    """All but places, and how it was written."""
    stages = dockerfile.stages
    items = list(dockerfile.global_args)
    return (
        dockerfile.escape,
        [(each.name, each.value, each.word) for each in dockerfile.directives],
        dockerfile.global_args,
        stages,
        [(each.written_name, each.as_keyword, each.comment) for each in stages],
        [each.comments for each in items],
        [(stage.comments, *(each.comments for each in stage.instructions)) for stage in stages],
        [definition.comment for each in items for definition in each.definitions],
    )


def check_printing(dockerfile: Dockerfile) -> None:
    """Print and parse again: the same must come out, and printing that must change nothing more."""
    text = print_dockerfile(dockerfile)
    again = parsed(text)

    assert meaning(again) == meaning(dockerfile), text
    assert print_dockerfile(again) == text
