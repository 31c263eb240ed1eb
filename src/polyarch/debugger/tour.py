"""The order in which a build can be stopped: a line of stops through the steps that lead to a result.

Before a step comes what it changes, in the order of the Dockerfile, then a stop before the step, where nothing else that
it takes has to be there. Each other stage that it takes from is a branch: it lies between that stop and another one before
the same step. Behind the last step of a branch, and of the whole, is a stop more, to look at what came out.

    depth 0   COPY --from=base                       COPY --from=base   (after it)
    depth 1                      FROM  RUN  (after RUN)

"Next" is the next stop of this depth that isn't before the same step; "in" is the very next one; "out" the next one that
is less deep. So a tour is a list, and these are searches in it. What several steps take is toured once, at the first of
them, since it isn't done again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polyarch.debugger.node import Input, Node
from polyarch.record import frozen, replace

__all__ = ["Stop", "find_failed", "find_out", "find_over", "tour"]


@frozen
class Stop:
    """A place where a build can be stopped: before its step, or after it (`is_after`).

    `ready` are results that are there when it has stopped; `shown` those that can be looked at. The first stop before a
    step is where breakpoints hold.
    """

    node: Node
    depth: int
    ready: tuple[Input, ...] = ()
    shown: tuple[Input, ...] = ()
    is_first: bool = False
    is_after: bool = False

    @property
    def root(self) -> Input | None:
        """The files that the step begins with, or has ended with."""
        return self.shown[0] if self.is_after else self.node.root


@frozen
class _Branch:
    """A step at the end of a branch, and the stop that follows the branch."""

    node: Node
    depth: int
    then: Stop | None = None


def tour(node: Node) -> tuple[Stop, ...]:
    """Return all stops on the way to the result of a vertex; none for one that stands in no text."""
    stops: list[Stop] = []
    seen: set[Node] = set()
    waiting: list[_Branch | Stop] = [_Branch(node=node, depth=0)]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Stop):
            stops.append(each)
        elif _is_toured(each.node) and each.node not in seen:
            if each.then is not None:
                waiting.append(each.then)
            waiting.extend(reversed(_laid_out(each, seen)))
    return tuple(stops)


def _is_toured(node: Node) -> bool:
    return node.location is not None


def _laid_out(branch: _Branch, seen: set[Node]) -> list[_Branch | Stop]:
    """Return the stops of one branch, with the branches that lie between them."""
    chain: list[Node] = []
    node: Node | None = branch.node
    while node is not None and node not in seen:
        chain.append(node)
        seen.add(node)
        node = node.root.node if node.root is not None else None
    found: list[_Branch | Stop] = []
    for each in reversed(chain):
        if _is_toured(each):
            found += _before(each, branch.depth)
    last = Input(node=branch.node, label="/")
    found.append(
        Stop(node=branch.node, depth=branch.depth, ready=(last,), shown=(last,), is_after=True)
    )
    return found


def _before(node: Node, depth: int) -> list[_Branch | Stop]:
    """Return the stops before a step, and the branches between them."""
    taken = list(_taken(node))
    ready = (node.root,) if node.root is not None else ()
    stop = Stop(node=node, depth=depth, ready=ready, shown=node.inputs)
    found: list[_Branch | Stop] = [replace(stop, is_first=True)]
    for each in taken:
        ready = (*ready, each)
        then = replace(stop, ready=ready)
        found.append(_Branch(node=each.node, depth=depth + 1, then=then))
    return found


def find_over(stops: Sequence[Stop], at: int) -> int | None:
    """Return the stop behind the step that is stopped at, None for the end."""
    here = stops[at]
    for number in range(at + 1, len(stops)):
        other = stops[number]
        if other.depth < here.depth:
            return number
        is_same = (other.node, other.is_after) == (here.node, here.is_after)
        if other.depth == here.depth and not is_same:
            return number
    return None


def _taken(node: Node) -> Iterator[Input]:
    """Give what a step takes beside that which it changes; an instruction may be several vertices (COPY --link is)."""
    for number, each in enumerate(node.inputs):
        if each.node.location is None or number == node.parent:
            continue
        if each.node.location == node.location:
            yield from _taken(each.node)
        else:
            yield each


def _is_of(stop: Stop, key: str) -> bool:
    """Whether a vertex is that of a stop, or of the same instruction."""
    parts = (each.node for each in stop.node.inputs if each.node.location == stop.node.location)
    return key in {stop.node.key, *(each.key for each in parts)}


def find_failed(stops: Sequence[Stop], key: str, place: object) -> int | None:
    """Return the first stop before the step that has failed: by its key, or else by its place in the text; None if there is none."""
    first = [number for number, each in enumerate(stops) if each.is_first]
    known = (number for number in first if _is_of(stops[number], key))
    placed = (n for n in first if place is not None and stops[n].node.location == place)
    return next(known, next(placed, None))


def find_out(stops: Sequence[Stop], at: int) -> int | None:
    """Return the stop behind the branch that is stopped in, None for the end."""
    depth = stops[at].depth
    return next((n for n in range(at + 1, len(stops)) if stops[n].depth < depth), None)
