"""R's serialized objects without code: a mids keeps formulas, whose environments hold calls, closures and byte code.

The format is that of R Internals, section "Serialization Formats", and of ReadItem in R's serialize.c.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
from struct import Struct
from typing import Any

COMPRESSED = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress, b"\xfd7zXZ\x00": lzma.decompress}
HEADER = re.compile(rb"(RDX[23]\n)?X\n")  # XDR, in a workspace file or alone

SYMBOL, PAIRS, ENVIRONMENT, TEXT, S4, BYTECODE, POINTER, WEAK, ALTREP = 1, 2, 4, 9, 25, 21, 22, 23, 238
ATTRIBUTE_CALL, ATTRIBUTE_PAIRS, REPEATED, REPEATS, REFERENCE = 240, 239, 243, 244, 255
CALLS = (3, 5, 6, 17)  # closure, promise, call, dots: two items, like pairs
PRIMITIVES = (7, 8)
SIZES = {10: 4, 13: 4, 14: 8, 15: 16, 24: 1}  # logical, integer, double, complex, raw
LISTS = (16, 19, 20)  # texts, list, expression
NAMED = (247, 248, 249)  # persistent object, package, namespace
CONSTANTS = (241, 242, 250, 251, 252, 253, 254)  # environments of R itself, missing argument, unbound value, NULL
INT = Struct(">i")
NULL = INT.pack(254)

# what is read next: an item, a part of byte code, a constant of it, the constants that follow its code
ITEM, CALL, CONSTANT, POOL = range(4)


def without_code(content: bytes) -> bytes:
    """Return the bytes of an rds or RData file with NULL in place of calls, functions and environments.

    Raises ValueError: the file ends early, or holds what R does not write.

    Parameters
    ----------
    content : bytes
        The file; what is not in R's default format (XDR) comes back as it is.
    """
    while decompress := next((f for magic, f in COMPRESSED.items() if content.startswith(magic)), None):
        content = decompress(content)
    found = HEADER.match(content)
    return content if found is None else _Walk(content, found.end()).result()


def part_names(obj: Any) -> None:
    """Number repeated names of the lists in an object of rdata's parser, which would keep the last part of a name.

    mice's ibind calls the imputations 1, 2, ..., 1, 2, ... in the data frames of a mids.
    """
    left = [obj]
    while left:
        one = left.pop()
        if one.info.type.value in (PAIRS, 19):
            left += [part for part in one.value if part is not None]
        if one.info.type.value == 19 and one.attributes is not None:
            _part(one.attributes)


def _part(attributes: Any) -> None:
    while attributes.info.type.value == PAIRS:
        value, rest = attributes.value
        if attributes.tag.value.value == b"names" and value.info.type.value == 16:
            seen: set[bytes | None] = set()
            for name in value.value:
                plain, count = name.value, 0
                while name.value in seen:
                    count += 1
                    name.value = b"%s.%d" % (plain or b"", count)
                seen.add(name.value)
        attributes = rest


class _Walk:
    """Goes through the items of a stream once, in their order; symbols are written out where they are referred to."""

    def __init__(self, content: bytes, start: int) -> None:
        self.content, self.at = content, start
        self.out = bytearray(content[:start])
        self.symbols: list[bytes] = []  # by number of reference; NULL for what is left out
        self.tasks: list[tuple[int, int, bool]] = []  # kind, how many, whether to keep them

    def result(self) -> bytes:
        version = self.integer()
        self.skip(8)
        if version >= 3:
            self.skip(self.integer())
        self.out += self.content[len(self.out) : self.at]
        self.tasks.append((ITEM, 1, True))
        while self.tasks:
            kind, count, keep = self.tasks.pop()
            if count > 1:
                self.tasks.append((kind, count - 1, keep))
            if kind == ITEM:
                self.item(keep)
            elif kind == POOL:
                self.push(CONSTANT, self.integer(), False)
            else:
                self.constant(kind)
        return bytes(self.out)

    def skip(self, size: int) -> None:
        if size < 0 or self.at + size > len(self.content):
            raise ValueError("the file ends early")
        self.at += size

    def integer(self) -> int:
        self.skip(4)
        value: int = INT.unpack_from(self.content, self.at - 4)[0]
        return value

    def length(self) -> int:
        n = self.integer()
        return n if n != -1 else (self.integer() << 32) + self.integer()

    def push(self, kind: int, count: int, keep: bool) -> None:
        if count < 0:
            raise ValueError("a length is negative")
        if count:
            self.tasks.append((kind, count, keep))

    def item(self, keep: bool) -> None:
        start = self.at
        flags = self.integer()
        kind, attributes, tag = flags & 255, bool(flags & 1 << 9), bool(flags & 1 << 10)
        if kind in CONSTANTS:
            self.write(keep, NULL)
        elif kind == REFERENCE:
            number = flags >> 8 or self.integer()
            if not 0 < number <= len(self.symbols):
                raise ValueError("a reference leads nowhere")
            self.write(keep, self.symbols[number - 1])
        elif kind == SYMBOL:
            self.skip(4)
            self.skip(max(self.integer(), 0))
            self.symbols.append(self.content[start : self.at])
            self.write(keep, self.symbols[-1])
        elif kind == PAIRS:
            self.push(ITEM, 2 + attributes + tag, keep)
            self.write(keep, self.content[start : self.at])
        elif kind == ALTREP:
            self.push(ITEM, 3, keep)
            self.write(keep, self.content[start : self.at])
        elif kind in LISTS or kind in SIZES or kind in (TEXT, S4):
            self.data(kind, attributes, keep)
            self.write(keep, self.content[start : self.at])
        else:
            self.code(kind, attributes, tag)
            self.write(keep, NULL)

    def write(self, keep: bool, part: bytes) -> None:
        if keep:
            self.out += part

    def data(self, kind: int, attributes: bool, keep: bool) -> None:
        """Vectors and texts: kept as they are."""
        self.push(ITEM, int(attributes), keep)
        if kind in LISTS:
            self.push(ITEM, self.length(), keep)
        elif kind == TEXT:
            self.skip(max(self.integer(), 0))  # -1 is NA
        elif kind != S4:
            self.skip(self.length() * SIZES[kind])

    def code(self, kind: int, attributes: bool, tag: bool) -> None:
        """Pass over whatever is not data."""
        if kind == ENVIRONMENT or kind in NAMED or kind in (POINTER, WEAK):
            self.symbols.append(NULL)
        if kind in CALLS:
            self.push(ITEM, 2 + attributes + tag, False)
            return
        if kind == ENVIRONMENT:
            self.integer()
            self.push(ITEM, 4, False)
            return
        self.push(ITEM, int(attributes), False)
        if kind in NAMED:
            self.integer()
            self.push(ITEM, self.integer(), False)
        elif kind in PRIMITIVES:
            self.skip(self.integer())
        elif kind == POINTER:
            self.push(ITEM, 2, False)
        elif kind == BYTECODE:
            self.integer()
            self.bytecode()
        elif kind != WEAK:
            raise ValueError(f"an item of type {kind}, which R does not write")

    def bytecode(self) -> None:
        self.push(POOL, 1, False)
        self.push(ITEM, 1, False)

    def constant(self, kind: int) -> None:
        """One constant of byte code, or one part of a call among them: its type, then what is of that type."""
        of = self.integer()
        if of == REPEATED:
            self.integer()
            return
        if of == REPEATS:
            self.integer()
            of = self.integer()
        if of == BYTECODE and kind == CONSTANT:
            self.bytecode()
        elif of in (6, PAIRS, ATTRIBUTE_CALL, ATTRIBUTE_PAIRS):
            self.push(CALL, 2, False)
            self.push(ITEM, 1 + (of in (ATTRIBUTE_CALL, ATTRIBUTE_PAIRS)), False)
        else:
            self.push(ITEM, 1, False)
