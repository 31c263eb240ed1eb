"""Which rung of the ladder of places this is: how much of a build works here, and what lifts it to the next one.

docs/places.md says what works where.
"""

from __future__ import annotations

from polyarch.doctor.check import Check, Grade
from polyarch.namespaces.subids import find_id_trouble
from polyarch.namespaces.userns import EngineNamespaces

__all__ = ["find_place"]


def find_place(
    namespaces: EngineNamespaces, *, names: tuple[str, ...], changes_root: bool
) -> Check:
    """Return the check of the place that the engine is in.

    `names` are those of an ordinary user, none of root; `changes_root` says whether it may call chroot.
    """
    title = "place"
    if namespaces.refused is not None:
        fix = namespaces.refused.hint
        if changes_root:
            return Check(
                name=title,
                grade=Grade.WARN,
                text="root without namespaces, as in most containers: steps are run by chroot, which keeps them "
                "from nothing, on plain copies of layers",
                fix=fix,
            )
        text = "no namespaces and no chroot: all but RUN works"
        return Check(name=title, grade=Grade.WARN, text=text, fix=fix)
    if not namespaces.pid_namespace:
        return Check(
            name=title,
            grade=Grade.WARN,
            text="a container that covers parts of /proc: steps see its processes, and aren't kept from them",
            fix="start the container with: --security-opt systempaths=unconfined",
        )
    if not namespaces.rootless:
        return Check(name=title, grade=Grade.OK, text="root: everything works")
    if namespaces.mapped_ids > 1:
        text = "rootless, with many ids: all but devices and limits works"
        return Check(name=title, grade=Grade.OK, text=text)
    trouble = find_id_trouble(names) if names else None
    return Check(
        name=title,
        grade=Grade.WARN,
        text="rootless, with one id: owners are recorded, which takes time, and users may do what root may",
        fix=trouble.fix if trouble is not None else "",
    )
