"""Bytes made wrong by chance: what a broken disk, a broken client or somebody ill-meaning sends."""

from collections.abc import Callable, Sequence
from random import Random

TOKENS = (
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b'"', b'""', b",", b";", b"\t"),
    *(b"{", b"}", b"[", b"]", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"true", b"\\u0000"),
    *(b"PAR1", b"\x1f\x8b", b"\xff\xff\xff\xff", b"--B", b"--B--", b"0\r\n\r\n", b"=cmd|' /C'!A0"),
    *(
        b"9" * 400,
        b"-0",
        b"0x10",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"%00",
        b"../",
        b"a" * 5000,
    ),
)
"""Pieces that mean something to one parser or another."""

SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
"""Numbers at the ends of their types, for lengths and offsets in binary files."""

MOST_BYTES = 256 * 1024
"""Longer ones only take longer."""


class Mutator:
    """Changes bytes, a few steps at a time. The same chance gives the same bytes."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._steps: Sequence[Callable[[bytearray], None]] = (
            self._flip,
            self._insert,
            self._remove,
            self._repeat,
            self._cut,
            self._number,
            self._swap,
        )

    def mutated(self, data: bytes, *, others: Sequence[bytes] = ()) -> bytes:
        """The bytes with one to six changes; sometimes with the end of another's."""
        changed = bytearray(data)
        for _ in range(self._random.choice((1, 1, 1, 2, 3, 6))):
            self._random.choice(self._steps)(changed)
        if others and self._random.random() < 0.1:
            other = self._random.choice(others)
            changed = changed[: self._place(changed)] + other[self._place(other) :]
        return bytes(changed[:MOST_BYTES])

    def _place(self, data: bytes | bytearray) -> int:
        """Heads and ends hold what matters most."""
        where = self._random.random()
        if where < 0.3:
            return self._random.randint(0, min(len(data), 64))
        if where < 0.5:
            return self._random.randint(max(0, len(data) - 64), len(data))
        return self._random.randint(0, len(data))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._place(data) - 1] ^= 1 << self._random.randrange(8)

    def _insert(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self._random.choice(TOKENS)

    def _remove(self, data: bytearray) -> None:
        place = self._place(data)
        del data[place : place + self._random.choice((1, 1, 2, 8, 100))]

    def _repeat(self, data: bytearray) -> None:
        place = self._place(data)
        piece = bytes(data[place : place + self._random.choice((1, 4, 50))])
        data[place:place] = piece * self._random.choice((1, 2, 20))

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _number(self, data: bytearray) -> None:
        place, width = self._place(data), self._random.choice((1, 2, 4, 8))
        order = self._random.choice(("little", "big"))
        number = self._random.choice(SIZES) % (1 << (8 * width))
        data[place : place + width] = number.to_bytes(width, "big" if order == "big" else "little")

    def _swap(self, data: bytearray) -> None:
        one, other = self._place(data), self._place(data)
        length = self._random.choice((1, 8, 40))
        pieces = bytes(data[one : one + length]), bytes(data[other : other + length])
        data[one : one + length] = pieces[1]
        data[other : other + length] = pieces[0]
