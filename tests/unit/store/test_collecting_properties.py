"""Builds, collections and deaths in any order: what is in use stays, and all else goes.

Each build has a store of its own on the same directory, as processes have: locks exclude each other between
open files, whichever process has opened them. A build that is killed lets go of its locks, as the kernel
sees to, and leaves the rest as it is.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from polyarch.digest import Digest, sha256
from polyarch.snapshot.leased import LeasedSnapshotter
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.gc import Freed, collect
from polyarch.store.leases import Lease
from polyarch.store.locks import Locks
from polyarch.store.policy import Policy
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store

_EVERYTHING = [Policy(all=True)]
_NAMES = [SnapshotID(name) for name in "abcd"]
_BLOBS = [b"1", b"2", b"3"]

names = st.sampled_from(_NAMES)
builds = st.integers(min_value=0, max_value=1)


class _Killed(BaseException):
    """Ends a piece of work where it is."""


@dataclass
class Build:
    """A process that builds; `used` and `blobs` are what it has found or made, which must stay."""

    store: Store
    ended: ExitStack
    lease: Lease
    snapshots: LeasedSnapshotter
    used: set[SnapshotID] = field(default_factory=set)
    blobs: set[Digest] = field(default_factory=set)

    @staticmethod
    def on(root: Path) -> Build:
        store = Store(root)
        ended = ExitStack()
        ended.callback(store.close)
        lease = ended.enter_context(store.leases.hold())
        return Build(store, ended, lease, LeasedSnapshotter(NativeSnapshotter(store), lease))

    def use(self, name: SnapshotID) -> bool:
        """Look for a snapshot, as a build does whose cache has it."""
        if not self.snapshots.exists(name):
            return False
        self.used.add(name)
        return True

    def make(self, name: SnapshotID, parents: tuple[SnapshotID, ...]) -> None:
        record = SnapshotRecord(id=name, parents=parents, size=1)
        self.snapshots.unpack(name, lambda directory: (directory / "f").write_text(name), record)
        self.used.add(name)

    def be_killed(self) -> None:
        """Let go of what the kernel takes away from the dead; the rest stays as it lies."""
        self.store.database.close()
        self.store._held.close()
        scratch = self.store._scratch
        if scratch is not None:
            os.close(scratch._descriptor)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.builds: dict[int, Build] = {}

    def teardown(self) -> None:
        for build in self.builds.values():
            build.ended.close()
        self.builds.clear()
        freed = self.collect()
        assert freed.complete
        self.check_all_is_gone(set())
        assert os.listdir(self.root / "tmp") == []
        shutil.rmtree(self.root)

    def build(self, number: int) -> Build:
        if number not in self.builds:
            self.builds[number] = Build.on(self.root)
        return self.builds[number]

    # --- what builds do ---

    @rule(number=builds, name=names)
    def use_what_may_be_there(self, number: int, name: SnapshotID) -> None:
        self.build(number).use(name)

    @rule(number=builds, name=names, is_stacked=st.booleans())
    def make_a_snapshot(self, number: int, name: SnapshotID, is_stacked: bool) -> None:
        build = self.build(number)
        # On those that are earlier in the alphabet, so that none stands on itself.
        below = _NAMES[: _NAMES.index(name)] if is_stacked else []
        parents = tuple(each for each in below if build.use(each))
        if not build.use(name):
            build.make(name, parents)

    @rule(number=builds, data=st.sampled_from(_BLOBS))
    def take_a_blob(self, number: int, data: bytes) -> None:
        build = self.build(number)
        build.blobs.add(build.store.blobs.put(data))

    @rule(number=builds)
    def end(self, number: int) -> None:
        build = self.builds.pop(number, None)
        if build is not None:
            build.ended.close()

    @rule(number=builds)
    def die(self, number: int) -> None:
        build = self.builds.pop(number, None)
        if build is not None:
            build.be_killed()

    @rule(number=builds, name=names)
    def die_before_a_snapshot_is_recorded(self, number: int, name: SnapshotID) -> None:
        build = self.build(number)
        if build.use(name):
            return

        def die(record: SnapshotRecord) -> None:
            raise _Killed

        build.store.snapshots.add = die  # type: ignore[method-assign]
        try:
            build.make(name, ())
        except _Killed:
            self.die(number)

    # --- what the collector does ---

    def collect(self, on_removed: Callable[[object], None] = lambda _: None) -> Freed:
        with Store(self.root, works=False) as store:
            return collect(store, _EVERYTHING, on_removed=on_removed)

    @rule()
    def collect_and_find_only_what_is_in_use(self) -> None:
        freed = self.collect()

        assert freed.complete
        # What a build has looked for in vain is its, too, should another one make it.
        self.check_all_is_gone(set().union(*(each.lease.held for each in self.builds.values())))

    @rule(number=builds, wanted=st.lists(names, min_size=1, max_size=3))
    def use_something_while_it_is_collected(self, number: int, wanted: list[SnapshotID]) -> None:
        build = self.build(number)
        waiting = list(wanted)

        def use(_: object) -> None:
            if waiting:
                build.use(waiting.pop())

        self.collect(use)

    @precondition(lambda self: self.builds)
    @rule(number=builds)
    def die_while_something_is_collected(self, number: int) -> None:
        self.collect(lambda _: self.die(number))

    @rule()
    def die_as_the_collector(self) -> None:
        store = Store(self.root, works=False)

        def die(_: object) -> None:
            raise _Killed

        try:
            collect(store, _EVERYTHING, forget=die)
        except _Killed:
            assert store._scratch is not None
        store.database.close()
        if store._scratch is not None:
            os.close(store._scratch._descriptor)

    # --- what has to hold ---

    @invariant()
    def what_is_in_use_is_there(self) -> None:
        for build in self.builds.values():
            for name in build.used:
                assert (build.store.snapshots_directory / name / "fs/f").read_text() == name
            for digest in build.blobs:
                assert sha256(build.store.blobs.read(digest)) == digest

    def check_all_is_gone(self, leased: set[str]) -> None:
        """Check that nothing is left but what is leased, what that stands on, and the blobs that builds have taken."""
        with Store(self.root, works=False) as store:
            records = {record.id: record.parents for record in store.snapshots.all()}
            needed = leased & records.keys()
            while more := {parent for name in needed for parent in records[name]} - needed:
                needed |= more
            assert set(records) == needed
            assert set(os.listdir(store.snapshots_directory)) == needed
            taken: set[Digest] = set().union(*(build.blobs for build in self.builds.values()))
            assert {digest for digest, _ in store.blobs} == taken


TestCollector = Machine.TestCase
TestCollector.settings = settings(max_examples=12, stateful_step_count=25)


class LockMachine(RuleBasedStateMachine):
    """Holders of a few locks, against a model of who may have what."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.locks = Locks(self.root)
        self.held: dict[int, tuple[str, bool, ExitStack]] = {}
        self.number = 0

    def teardown(self) -> None:
        for _, _, stack in self.held.values():
            stack.close()
        self.locks.sweep()
        assert os.listdir(self.root) == []
        shutil.rmtree(self.root)

    @rule(name=st.sampled_from("ab"), alone=st.booleans())
    def take(self, name: str, alone: bool) -> None:
        others = [was_alone for held, was_alone, _ in self.held.values() if held == name]
        stack = ExitStack()
        lock = self.locks.exclusive if alone else self.locks.shared
        is_held = stack.enter_context(lock(name, wait=False))

        assert is_held == (not others if alone else not any(others))
        if is_held:
            self.number += 1
            self.held[self.number] = (name, alone, stack)

    @precondition(lambda self: self.held)
    @rule(choice=st.integers(min_value=0))
    def let_go(self, choice: int) -> None:
        _, _, stack = self.held.pop(sorted(self.held)[choice % len(self.held)])
        stack.close()

    @rule()
    def sweep(self) -> None:
        self.locks.sweep()

        assert set(os.listdir(self.root)) == {name for name, _, _ in self.held.values()}


TestLocks = LockMachine.TestCase
TestLocks.settings = settings(max_examples=20, stateful_step_count=20)
