"""A machine that runs: QEMU's process, and the talk with the agent in it.

QEMU is started by a thread that stays with it, since it dies with that thread: whatever happens to the process
of which we are a part, no machine is left. The console is kept for errors.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from polyarch.errors import NoRuntime
from polyarch.process import Child
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.runtime.vm.agent import AGENT_READY, Agent
from polyarch.runtime.vm.architecture import Architecture
from polyarch.runtime.vm.batch import ANSWER_BYTES, Batch
from polyarch.runtime.vm.kernel import Bootable

__all__ = ["SHARE_TAG", "Machine", "Size", "command_line", "has_kvm"]

SHARE_TAG = "share"
_KVM = "/dev/kvm"
_PARAVIRTUAL = "/sys/module/kvm_pvm"
"""KVM without the CPU's help, for kernels that are made for it: others get nowhere."""
_CONSOLE_BYTES = 16384
_SHOWN_LINES = 8
_CHUNK = 1 << 20
_BOOT_SECONDS = {True: 60.0, False: 300.0}
"""How long the start of a machine may take, by whether it has KVM."""
_SWAP_BYTES = 16 << 30


@frozen
class Size:
    """How large a machine is: memory in MiB, and CPUs."""

    memory: int
    cpus: int


def has_kvm(architecture: Architecture, native: str) -> bool:
    """Tell whether the machine's own CPU can be used."""
    if architecture.name != native or os.path.exists(_PARAVIRTUAL):
        return False
    return os.access(_KVM, os.R_OK | os.W_OK)


def command_line(
    architecture: Architecture,
    bootable: Bootable,
    size: Size,
    *,
    kvm: bool,
    share: Path,
    swap: Path,
    channels: Sequence[int],
) -> list[str]:
    """Return the command that runs a machine; `channels` are the descriptors of the three ports."""
    accelerator = "kvm" if kvm else "tcg,thread=multi"
    kernel = f"console={architecture.console} loglevel=4 panic=-1 random.trust_cpu=on"
    command = [
        *(architecture.program, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
        *(architecture.kvm_options if kvm else architecture.options),
        *("-accel", accelerator, "-m", f"{size.memory}M", "-smp", str(size.cpus)),
        *("-kernel", str(bootable.kernel), "-initrd", str(bootable.initramfs), "-append", kernel),
        *("-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"),
        *("-device", "virtio-serial-pci"),
    ]
    for number, channel in enumerate(channels, start=1):
        command += ["-chardev", f"socket,id=port{number},fd={channel}"]
        command += ["-device", f"virtserialport,chardev=port{number},nr={number}"]
    shown = f"local,id=share,path={_option(share)},security_model=passthrough"
    command += ["-fsdev", f"{shown},readonly=on,multidevs=remap"]
    command += ["-device", f"virtio-9p-pci,fsdev=share,mount_tag={SHARE_TAG}"]
    command += ["-netdev", "user,id=net,ipv6=off", "-device", "virtio-net-pci,netdev=net,romfile="]
    command += ["-drive", f"if=none,id=swap,format=raw,cache=unsafe,file={_option(swap)}"]
    command += ["-device", "virtio-blk-pci,drive=swap"]
    # What breaks out of the machine is still kept from starting programs.
    command += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"]
    return command


def _option(path: Path) -> str:
    return str(path).replace(",", ",,")


def _make_swap(place: Path) -> Path:
    """Make the file that the machine swaps to, which takes room only as far as it does."""
    swap = place / "swap"
    with open(swap, "wb") as file:
        file.truncate(_SWAP_BYTES)
        _write_swap_header(file.fileno())
    return swap


class Machine:
    """A machine: started by its constructor, ended by `close`. Used by one thread at a time."""

    def __init__(
        self,
        architecture: Architecture,
        bootable: Bootable,
        size: Size,
        *,
        kvm: bool,
        place: Path,
        cancel: CancelToken,
    ) -> None:
        """Start it; `place` is a directory that is made, in which `share` is what the machine sees.

        Raises NoRuntime, Cancelled.
        """
        self.architecture = architecture
        self.agent = Agent(architecture)
        self.share = place / "share"
        self._kvm = kvm
        self._began = time.monotonic()
        self._console = bytearray()
        self._errors = bytearray()
        self._started = threading.Event()
        self._child: Child | None = None
        self._ended = False
        place.mkdir()
        self.share.mkdir()
        swap = _make_swap(place)
        pairs = [socket.socketpair() for _ in range(3)]
        self.control, self.stdout, self.stderr = (ours for ours, _ in pairs)
        channels = [theirs.fileno() for _, theirs in pairs]
        command = command_line(
            architecture, bootable, size, kvm=kvm, share=self.share, swap=swap, channels=channels
        )
        self._thread = threading.Thread(
            target=self._mind, args=(command, channels), name=f"machine-{architecture.name}"
        )
        self._thread.start()
        self._started.wait()
        for _, theirs in pairs:
            theirs.close()
        forget = cancel.on_cancel(self.kill)
        try:
            self._wait_for_agent()
        except BaseException:
            self.close()
            cancel.check()
            raise
        finally:
            forget()
            # QEMU has it open; what is swapped goes with QEMU.
            swap.unlink()

    @property
    def alive(self) -> bool:
        """Whether QEMU runs."""
        return not self._ended

    def close(self) -> None:
        """End the machine."""
        self.kill()
        self._thread.join()
        for each in (self.control, self.stdout, self.stderr):
            each.close()

    def kill(self) -> None:
        """Have it ended, from any thread; whoever talks with it gets NoRuntime."""
        if self._child is not None:
            self._child.kill()

    def _mind(self, command: Sequence[str], channels: Sequence[int]) -> None:
        """Run QEMU to its end, in a thread of its own."""
        try:
            self._child = Child(command, on_output=self._keep, pass_fds=channels)
            self._started.set()
            self._child.wait()
        finally:
            self._ended = True
            self._started.set()

    def _keep(self, stream: int, data: bytes) -> None:
        kept = self._console if stream == 1 else self._errors
        kept += data
        del kept[:-_CONSOLE_BYTES]

    def _wait_for_agent(self) -> None:
        """Wait for the agent's first words. Raises NoRuntime with the last lines of the console."""
        limit = _BOOT_SECONDS[self._kvm]
        try:
            if self.receive(len(AGENT_READY), timeout=limit) != AGENT_READY:
                raise self._trouble("says what nobody understands")
        except TimeoutError:
            raise self._trouble(f"wasn't ready within {limit:g} s") from None

    def _trouble(self, what: str) -> NoRuntime:
        """Return the error that says what happened, with the last that was heard."""
        name = self.architecture.name
        if self._child is not None and self._child.pid == 0:
            return NoRuntime(
                f"{self.architecture.program} can't be started: there is no virtual machine for {name}",
                hint=f"install it (Debian, Ubuntu: apt-get install {self.architecture.package})",
            )
        heard = bytes(self._errors if self._errors.strip() else self._console)
        lines = heard.decode(errors="replace").replace("\r", "").strip().split("\n")[-_SHOWN_LINES:]
        return NoRuntime(
            f"the virtual machine for {name} {what}; its last words:\n" + "\n".join(lines),
            hint="give it more memory (POLYARCH_VM_MEMORY, in MiB) if it is short of that, or another "
            "kernel (POLYARCH_VM_KERNEL)",
        )

    # --- the talk ---

    def send(self, program: bytes) -> None:
        """Have a program run. Raises NoRuntime if the machine is gone."""
        try:
            self.control.sendall(program)
        except OSError as error:
            raise self._gone() from error

    def receive(self, count: int, *, timeout: float | None = None) -> bytes:
        """Return exactly `count` bytes of an answer. Raises NoRuntime if the machine is gone, TimeoutError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        received = bytearray()
        while len(received) < count:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self.control.settimeout(left)
            try:
                data = self.control.recv(min(count - len(received), _CHUNK))
            except ConnectionResetError:
                data = b""
            finally:
                with contextlib.suppress(OSError):
                    self.control.settimeout(None)
            if not data:
                raise self._gone()
            received += data
        return bytes(received)

    def do(self, batch: Batch) -> None:
        """Run calls to their end. Raises MachineError with what failed, NoRuntime."""
        self.send(batch.end())
        batch.check(self.receive(ANSWER_BYTES))

    def _gone(self) -> NoRuntime:
        self.kill()
        self._thread.join()
        return self._trouble("ended")


def _write_swap_header(descriptor: int) -> None:
    """Make a file one to swap to, whose first page says so. Source: union swap_header, include/linux/swap.h.

    Pages are of 4 KiB: elsewhere the machine goes without.
    """
    page = 4096
    header = bytearray(page)
    header[1024:1036] = (
        (1).to_bytes(4, "little") + (_SWAP_BYTES // page - 1).to_bytes(4, "little") + bytes(4)
    )
    header[-10:] = b"SWAPSPACE2"
    os.pwrite(descriptor, bytes(header), 0)
