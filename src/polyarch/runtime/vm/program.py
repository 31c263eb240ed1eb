"""Programs for the agent: system calls one after another, with sums and jumps between them.

The agent (see `agent`) has no stack and no registers that a program could use: all its operands are words of
memory. So a program is written with `Word`s, which are variables, and with numbers and `Address`es, which become
words that nobody changes. It is laid out by `assemble` as instructions, then words and bytes, and is ready to run
where it was said to be put.

Source of the instructions' form: `architecture`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from polyarch.runtime.vm.architecture import Architecture

__all__ = ["Address", "Label", "Operand", "Program", "Word"]

_ADD, _BRANCH = -1, -2
_INSTRUCTION = 64
_WORD = struct.Struct("<Q")
_WORD_MASK = (1 << 64) - 1


class Label:
    """A place among the instructions of a program, to be jumped to."""

    def __init__(self) -> None:
        self.instruction: int | None = None


class Address:
    """Where some bytes of a program's data are, or will be."""

    def __init__(self, offset: int, *, absolute: bool = False) -> None:
        self.offset = offset
        self.absolute = absolute


class Word(Address):
    """A variable; as an operand it stands for what it holds."""

    @property
    def address(self) -> Address:
        """Where it is, as a number to hand on."""
        return Address(self.offset, absolute=self.absolute)


Operand = int | Address | Label
"""A number, a variable (Word), the address of data, or that of an instruction."""


class Program:
    """A program in the making, which will lie at `base`.

    Its data begin behind its instructions, or at `data_base`, where they are wherever the instructions end.
    """

    def __init__(self, architecture: Architecture, base: int, data_base: int = 0) -> None:
        self.architecture = architecture
        self._base = base
        self._data_base = data_base
        self._code: list[tuple[int, tuple[Word, ...], Word]] = []
        self._data = bytearray()
        self._moved: list[tuple[int, Address | Label]] = []
        self._constants: dict[object, Word] = {}
        self._nothing = self.word()

    # --- data ---

    def word(self, value: int | Address | Label = 0) -> Word:
        """Return a new variable that holds `value` at first."""
        offset = self._append(_WORD.pack(value & _WORD_MASK if isinstance(value, int) else 0))
        if not isinstance(value, int):
            self._moved.append((offset, value))
        return Word(offset)

    def data(self, content: bytes) -> Address:
        """Return where `content` will be; it may be written to."""
        return Address(self._append(content))

    def text(self, content: str | bytes) -> Address:
        """Return where a text will be, with the NUL behind it."""
        encoded = (
            content if isinstance(content, bytes) else content.encode(errors="surrogateescape")
        )
        return self.data(encoded + b"\0")

    def pointers(self, texts: Sequence[str]) -> Address:
        """Return where a list of the addresses of texts will be, as execve takes it."""
        addresses = [self.text(text) for text in texts]
        words = [self.word(each) for each in addresses]
        end = self.word()
        return Address(words[0].offset if words else end.offset)

    def _append(self, content: bytes) -> int:
        self._data += bytes(-len(self._data) % 8)
        offset = len(self._data)
        self._data += content
        return offset

    def _operand(self, value: Operand) -> Word:
        if isinstance(value, Word):
            return value
        # Texts are equal only if they are one: each is written to by its own call, perhaps.
        key = value & _WORD_MASK if isinstance(value, int) else value
        if key not in self._constants:
            self._constants[key] = self.word(value)
        return self._constants[key]

    # --- instructions ---

    def call(self, name: str, *operands: Operand, result: Word | None = None) -> Word:
        """Add a system call; return the variable with its result (negative: the number of an error)."""
        into = result if result is not None else self.word()
        self._add_instruction(self.architecture.number(name), operands, into)
        return into

    def add(self, one: Operand, other: Operand, minus: Operand = 0, *, to: Word) -> None:
        """Add: set a variable to `one` + `other` - `minus`."""
        self._add_instruction(_ADD, (one, other, minus), to)

    def set(self, word: Word, value: Operand) -> None:
        """Add: set a variable."""
        self.add(value, 0, to=word)

    def branch_less(self, one: Operand, other: Operand, then: Operand, otherwise: Operand) -> None:
        """Add: go to `then` if `one` is less than `other` (with signs), else to `otherwise`."""
        self._add_instruction(_BRANCH, (one, other, then, otherwise), self._nothing)

    def branch_equal(self, one: Operand, other: Operand, then: Operand, otherwise: Operand) -> None:
        """Add: go to `then` if `one` is `other`, else to `otherwise`."""
        not_less = Label()
        self.branch_less(one, other, otherwise, not_less)
        self.place(not_less)
        self.branch_less(other, one, otherwise, then)

    def jump(self, to: Operand) -> None:
        """Add: go to `to`, a label, or a variable with the address of an instruction."""
        self.branch_less(0, 1, to, to)

    @contextmanager
    def unless_negative(self, word: Word) -> Iterator[None]:
        """Add instructions that are left out if a variable is negative."""
        begin, end = Label(), Label()
        self.branch_less(word, 0, end, begin)
        self.place(begin)
        yield
        self.place(end)

    def place(self, label: Label) -> None:
        """Let a label stand for the instruction that is added next."""
        label.instruction = len(self._code)

    def label(self) -> Label:
        """Return a label for the instruction that is added next."""
        label = Label()
        self.place(label)
        return label

    def _add_instruction(self, what: int, operands: Sequence[Operand], into: Word) -> None:
        words = [self._operand(each) for each in operands]
        words += [self._nothing] * (6 - len(words))
        self._code.append((what, tuple(words), into))

    # --- the whole ---

    def where(self, place: Address | Label) -> int:
        """Return the address of a place, once all instructions have been added."""
        if isinstance(place, Label):
            assert place.instruction is not None
            return self._base + place.instruction * _INSTRUCTION
        if place.absolute:
            return place.offset
        begin = self._data_base or self._base + len(self._code) * _INSTRUCTION
        return begin + place.offset

    def assemble(self) -> bytes:
        """Return the program, to be put at its base."""
        code = bytearray()
        for what, operands, into in self._code:
            places = (self.where(each) for each in (*operands, into))
            code += struct.pack("<q7Q", what, *places)
        data = bytearray(self._data)
        for offset, place in self._moved:
            _WORD.pack_into(data, offset, self.where(place))
        if self._data_base:
            code = code.ljust(self._data_base - self._base, b"\0")
        return bytes(code + data)
