"""What differs from one architecture's machine to another's: QEMU's program, its options, calls, the agent's code.

The code is an interpreter of the instructions that `program` makes: it has been assembled by binutils from the
listing that stands above each, with the address of the first instruction in it. One instruction is eight words of
64 bits: what to do, the addresses of six operands, the address for the result. What to do is the number of a
system call, or -1 (result = first + second - third), or less (go to where the third operand says if
the first is less than the second, else to where the fourth says).

Source of the numbers: asm/unistd_64.h of x86 and powerpc, asm-generic/unistd.h of Linux.
"""

from __future__ import annotations

from polyarch.errors import NoRuntime
from polyarch.record import frozen

__all__ = ["ARCHITECTURES", "Architecture", "machine_architecture"]

# rbx is where the next instruction is; rdi, rsi, rdx, r10, r8, r9 are operands.
#           mov  $0x10010000, %ebx
#   next:   mov  (%rbx), %rax
#           test %rax, %rax
#           mov  8(%rbx), %rdi;  mov (%rdi), %rdi
#           mov  16(%rbx), %rsi; mov (%rsi), %rsi
#           mov  24(%rbx), %rdx; mov 32(%rbx), %r10
#           js   special
#           mov  (%rdx), %rdx;   mov (%r10), %r10
#           mov  40(%rbx), %r8;  mov (%r8), %r8
#           mov  48(%rbx), %r9;  mov (%r9), %r9
#           syscall
#   store:  mov  56(%rbx), %rcx; mov %rax, (%rcx)
#           add  $64, %rbx;      jmp next
#   special: cmp $-1, %rax;      jne branch
#           lea  (%rdi,%rsi), %rax; sub (%rdx), %rax; jmp store
#   branch: cmp  %rsi, %rdi;     cmovge %r10, %rdx
#           mov  (%rdx), %rbx;   jmp next
_AMD64 = """
bb000001 10488b03 4885c048 8b7b0848 8b3f488b 7310488b 36488b53 184c8b53 20782348 8b124d8b
124c8b43 284d8b00 4c8b4b30 4d8b090f 05488b4b 38488901 4883c340 ebbf4883 f8ff7509 488d0437
482b02eb e44839f7 490f4dd2 488b1aeb a4
"""

# x19 is where the next instruction is; x8 what to do; x0 to x5 are operands; x20 is for the result.
#           movz x19, #0x1001, lsl #16
#   next:   ldp  x8, x0, [x19];      ldp x1, x2, [x19, #16]
#           ldp  x3, x4, [x19, #32]; ldp x5, x20, [x19, #48]
#           ldr  x0, [x0];           ldr x1, [x1]
#           tbnz x8, #63, special
#           ldr  x2, [x2]; ldr x3, [x3]; ldr x4, [x4]; ldr x5, [x5]
#           svc  #0
#   store:  str  x0, [x20]; add x19, x19, #64; b next
#   special: cmn x8, #1;    b.ne branch
#           ldr  x2, [x2];  add x0, x0, x1; sub x0, x0, x2; b store
#   branch: cmp  x0, x1;    csel x2, x2, x3, lt
#           ldr  x19, [x2]; b next
_ARM64 = """
3300a2d2 680240a9 610a41a9 631242a9 655243a9 000040f9 210040f9 2801f8b7 420040f9 630040f9
840040f9 a50040f9 010000d4 800200f9 73020191 f2ffff17 1f0500b1 a1000054 420040f9 0000018b
000002cb f8ffff17 1f0001eb 42b0839a 530040f9 e8ffff17
"""

# s0 is where the next instruction is; a7 what to do; a0 to a5 are operands.
#           lui  s0, 0x10010
#   next:   ld   a7, 0(s0)
#           ld   a0, 8(s0);  ld a0, 0(a0)
#           ld   a1, 16(s0); ld a1, 0(a1)
#           ld   a2, 24(s0); ld a3, 32(s0)
#           bltz a7, special
#           ld   a2, 0(a2);  ld a3, 0(a3)
#           ld   a4, 40(s0); ld a4, 0(a4)
#           ld   a5, 48(s0); ld a5, 0(a5)
#           ecall
#   store:  ld   t0, 56(s0); sd a0, 0(t0)
#           addi s0, s0, 64; j next
#   special: addi a7, a7, 1; bnez a7, branch
#           ld   a2, 0(a2);  add a0, a0, a1; sub a0, a0, a2; j store
#   branch: blt  a0, a1, 1f
#           mv   a2, a3
#   1:      ld   s0, 0(a2);  j next
_RISCV64 = """
37040110 83380400 03358400 03350500 83350401 83b50500 03368401 83360402 63c80802 03360600
83b60600 03378402 03370700 83370403 83b70700 73000000 83328403 23b0a200 13040404 6ff09ffb
93881800 639a0800 03360600 3305b500 3305c540 6ff0dffd 6344b500 13860600 03340600 6ff01ff9
"""

# r31 is where the next instruction is; r0 what to do; r3 to r8 are operands. A call that fails sets the
# summary overflow, and its result is the number of the error, without a sign.
#           lis   31, 0x1001
#   next:   ld    0, 0(31);  cmpdi 0, 0, 0
#           ld    3, 8(31);  ld 3, 0(3)
#           ld    4, 16(31); ld 4, 0(4)
#           ld    5, 24(31); ld 6, 32(31)
#           blt   special
#           ld    5, 0(5);   ld 6, 0(6)
#           ld    7, 40(31); ld 7, 0(7)
#           ld    8, 48(31); ld 8, 0(8)
#           sc
#           bns   store;     neg 3, 3
#   store:  ld    9, 56(31); std 3, 0(9)
#           addi  31, 31, 64; b next
#   special: cmpdi 0, 0, -1; bne branch
#           ld    5, 0(5);   add 3, 3, 4; subf 3, 5, 3; b store
#   branch: cmpd  3, 4;      blt 1f
#           mr    5, 6
#   1:      ld    31, 0(5);  b next
_PPC64LE = """
0110e03f 00001fe8 0000202c 08007fe8 000063e8 10009fe8 000084e8 1800bfe8 2000dfe8 38008041
0000a5e8 0000c6e8 2800ffe8 0000e7e8 30001fe9 000008e9 02000044 08008340 d000637c 38003fe9
000069f8 4000ff3b acffff4b ffff202c 14008240 0000a5e8 1422637c 5018657c dcffff4b 0020237c
08008041 7833c57c 0000e5eb 80ffff4b
"""

_NUMBERS = {
    # amd64, arm64 and riscv64, ppc64le
    "read": (0, 63, 3),
    "write": (1, 64, 4),
    "openat": (257, 56, 286),
    "close": (3, 57, 6),
    "fcntl": (72, 25, 55),
    "dup3": (292, 24, 316),
    "pipe2": (293, 59, 317),
    "mount": (165, 40, 21),
    "umount2": (166, 39, 52),
    "mkdirat": (258, 34, 287),
    "mknodat": (259, 33, 288),
    "symlinkat": (266, 36, 295),
    "unlinkat": (263, 35, 292),
    "fchownat": (260, 54, 289),
    "readlinkat": (267, 78, 296),
    "getdents64": (217, 61, 202),
    "statx": (332, 291, 383),
    "llistxattr": (195, 12, 216),
    "lgetxattr": (192, 9, 213),
    "chdir": (80, 49, 12),
    "chroot": (161, 51, 61),
    "pivot_root": (155, 41, 203),
    "open_tree": (428, 428, 428),
    "move_mount": (429, 429, 429),
    "mount_setattr": (442, 442, 442),
    "clone": (56, 220, 120),
    "execve": (59, 221, 11),
    "exit": (60, 93, 1),
    "wait4": (61, 260, 114),
    "kill": (62, 129, 37),
    "setsid": (112, 157, 66),
    "sethostname": (170, 161, 74),
    "umask": (95, 166, 60),
    "prlimit64": (302, 261, 325),
    "prctl": (157, 167, 171),
    "capset": (126, 91, 184),
    "setgroups": (116, 159, 81),
    "setresgid": (119, 149, 169),
    "setresuid": (117, 147, 164),
    "personality": (135, 92, 136),
    "finit_module": (313, 273, 353),
    "ioctl": (16, 29, 54),
    "socket": (41, 198, 326),
    "clock_settime": (227, 112, 245),
    "nanosleep": (35, 101, 162),
    "fchmodat": (268, 53, 297),
    "reboot": (169, 142, 88),
    "sync": (162, 81, 36),
    "utimensat": (280, 88, 304),
    "swapon": (167, 224, 87),
    "fchown": (93, 55, 95),
}


@frozen
class Architecture:
    """The machine of one architecture.

    `options` are QEMU's with an emulated CPU, `kvm_options` those with the machine's own. `machine` and `flags`
    are those of ELF files. `calls` is the column of the numbers of system calls.
    """

    name: str
    program: str
    options: tuple[str, ...]
    kvm_options: tuple[str, ...]
    console: str
    machine: int
    flags: int
    code: str
    calls: int
    package: str
    """Debian's, with QEMU's program."""
    kernel_package: str
    """Debian's, with a kernel that has all that is needed."""

    def number(self, call: str) -> int:
        """Return the number of a system call."""
        return _NUMBERS[call][self.calls]


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(
            name="amd64",
            program="qemu-system-x86_64",
            options=("-machine", "q35", "-cpu", "max"),
            kvm_options=("-machine", "q35", "-cpu", "host"),
            console="ttyS0",
            machine=62,
            flags=0,
            code=_AMD64,
            calls=0,
            package="qemu-system-x86",
            kernel_package="linux-image-amd64",
        ),
        Architecture(
            name="arm64",
            program="qemu-system-aarch64",
            # The real algorithm of pointer authentication takes most of the time of emulated programs.
            options=("-machine", "virt", "-cpu", "max,pauth-impdef=on"),
            kvm_options=("-machine", "virt,gic-version=host", "-cpu", "host"),
            console="ttyAMA0",
            machine=183,
            flags=0,
            code=_ARM64,
            calls=1,
            package="qemu-system-arm",
            kernel_package="linux-image-arm64",
        ),
        Architecture(
            name="riscv64",
            program="qemu-system-riscv64",
            options=("-machine", "virt"),
            kvm_options=("-machine", "virt", "-cpu", "host"),
            console="ttyS0",
            machine=243,
            flags=0,
            code=_RISCV64,
            calls=1,
            package="qemu-system-misc",
            kernel_package="linux-image-riscv64",
        ),
        Architecture(
            name="ppc64le",
            program="qemu-system-ppc64",
            options=("-machine", "pseries", "-cpu", "power9"),
            kvm_options=("-machine", "pseries", "-cpu", "host"),
            console="hvc0",
            machine=21,
            flags=2,
            code=_PPC64LE,
            calls=2,
            package="qemu-system-ppc",
            kernel_package="linux-image-powerpc64le",
        ),
    )
}

_SIBLINGS = {"386": "amd64", "arm": "arm64"}
"""Whose programs the CPU and the kernel of another one run, too."""


def machine_architecture(architecture: str) -> Architecture:
    """Return the machine in which programs of an architecture run. Raises NoRuntime if there is none."""
    found = ARCHITECTURES.get(_SIBLINGS.get(architecture, architecture))
    if found is None:
        known = ", ".join((*ARCHITECTURES, *_SIBLINGS))
        raise NoRuntime(
            f"steps for {architecture} can't run in a virtual machine: there are machines for {known}",
            hint="use --emulation=auto",
        )
    return found
