"""Damage to files, random but the same for the same seed: what disks, networks and people who mean harm do to them."""

import re
from collections.abc import Callable
from random import Random

# Where the sizes, types and offsets of most formats stand.
_HEADER = 512
_WORDS = (b"", b"0", b"-1", b"3", b"1e309", b"NaN", b"4294967296", b"9" * 19, b"9" * 5000, b"null", b"true", b"[]",
          b"{}", b'""', b"-" * 40, b"[" * 5_000, b'"\\ud800"', b"\xff\xfe", b"../../x", b"/etc/passwd")  # fmt: skip
_WORD = re.compile(rb'-?\d[\d.eE+-]*|"[^"\n]{0,60}"|true|false|null|[A-Za-z_]{3,}')
_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)


def mutated(content: bytes, other: bytes, random: Random) -> bytes:
    """Content with one to three kinds of damage.

    :param other: content of another file or member, of which pieces may get into this one.
    """
    for _ in range(random.randint(1, 3)):
        content = random.choice(_KINDS)(content, other, random)
    return content


def _place(content: bytes, random: Random) -> int:
    reach = len(content) if random.random() < 0.5 else min(len(content), _HEADER)
    return random.randrange(reach) if reach else 0


def _piece(content: bytes, random: Random) -> bytes:
    start = _place(content, random)
    return content[start : start + random.randint(1, 200)]


def _flip_bits(content: bytes, _: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.randint(1, 8) if content else 0):
        changed[_place(content, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _set_number(content: bytes, _: bytes, random: Random) -> bytes:
    """A field of 1 to 8 bytes, at a place where one may be, gets a number that somebody did not think of."""
    size = random.choice((1, 2, 4, 8))
    place = _place(content, random) // size * size + random.choice((0, 0, 0, 1, 2))
    number = (random.choice(_NUMBERS) % 256**size).to_bytes(size, random.choice(("little", "big")))
    return content[:place] + number + content[place + size :]


def _set_float(content: bytes, _: bytes, random: Random) -> bytes:
    """NaN, infinity, or the largest number, as float32 or float64."""
    number = bytes.fromhex(random.choice(("0000c07f", "0000807f", "ffff7f7f", "000000000000f87f", "000000000000f07f")))
    place = _place(content, random) // 4 * 4
    return content[:place] + number + content[place + len(number) :]


def _cut_off(content: bytes, _: bytes, random: Random) -> bytes:
    return content[: _place(content, random)]


def _remove(content: bytes, _: bytes, random: Random) -> bytes:
    place = _place(content, random)
    return content[:place] + content[place + random.randint(1, 64) :]


def _splice(content: bytes, other: bytes, random: Random) -> bytes:
    place = _place(content, random)
    return content[:place] + _piece(random.choice((content, other)), random) + content[place:]


def _overwrite(content: bytes, other: bytes, random: Random) -> bytes:
    place, piece = _place(content, random), _piece(other, random)
    return content[:place] + piece + content[place + len(piece) :]


def _swap(content: bytes, _: bytes, random: Random) -> bytes:
    a, b = sorted((_place(content, random), _place(content, random)))
    size = min(random.randint(1, 64), b - a)
    return content[:a] + content[b : b + size] + content[a + size : b] + content[a : a + size] + content[b + size :]


def _erase(content: bytes, _: bytes, random: Random) -> bytes:
    place, size = _place(content, random), random.randint(1, 128)
    return content[:place] + random.choice((b"\0", b"\xff", b" ")) * size + content[place + size :]


def _replace_word(content: bytes, _: bytes, random: Random) -> bytes:
    """In text, a number, name or value becomes another one, or something that is none."""
    start = _place(content, random)
    found = _WORD.search(content, start) or _WORD.search(content)
    if found is None:
        return content
    return content[: found.start()] + random.choice(_WORDS) + content[found.end() :]


_KINDS: tuple[Callable[[bytes, bytes, Random], bytes], ...] = (
    _flip_bits, _set_number, _set_number, _set_float, _cut_off, _remove, _splice, _overwrite, _swap, _erase,
    _replace_word, _replace_word, _replace_word,
)  # fmt: skip
