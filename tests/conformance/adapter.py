"""Answers the questions of the unit tables; one section for each table."""

from __future__ import annotations

from polyarch.dockerfile.expand import DISPLAY, HEREDOC, WORD, expand, expand_words, expansion

Json = object


# shell: words of Dockerfiles

_MODES = {"word": WORD, "heredoc": HEREDOC, "display": DISPLAY}


def shell(word: str, env: dict[str, str], escape: str, mode: str) -> Json:
    if mode == "words":
        return expand_words(word, env, escape=escape)
    return expand(word, env, escape=escape, mode=_MODES[mode])


def shell_names(word: str, env: dict[str, str], escape: str) -> Json:
    result = expansion(word, env, escape=escape)
    return {"matched": sorted(result.matched), "unmatched": sorted(result.unmatched)}
