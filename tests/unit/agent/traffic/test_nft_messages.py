"""The bytes that the kernel is sent and sends, and the text that `nft` loads."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lekiwi_deploy.agent.traffic import ruleset
from lekiwi_deploy.agent.traffic.nft_elements import transaction
from lekiwi_deploy.agent.traffic.nft_events import changed_by

PORTS = st.integers(1, 65535)
TARGETS = st.dictionaries(PORTS, PORTS, max_size=40)

# As nft 1.0.6 sent it for `flush map inet lekiwi ports`, `add element inet lekiwi ports { 8000 : 24006 }` (from strace).
FLUSH = bytes.fromhex("010000000a00020070 6f72747300 0000 0b0001006c656b69776900 00".replace(" ", ""))
ADD = FLUSH + bytes.fromhex("200003801c0001800c000180060001001f4000000c000280060001005dc60000")


def messages(batch: bytes) -> list[tuple[int, int, int, bytes]]:
    """(kind, flags, sequence, content) of each."""
    found, at = [], 0
    while at < len(batch):
        length, kind, flags, sequence, port = struct.unpack_from("=IHHII", batch, at)
        assert length >= 16 and port == 0
        found.append((kind, flags, sequence, batch[at + 16 : at + length]))
        at += (length + 3) & ~3
    assert at == len(batch)
    return found


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        found.append((kind & 0x3FFF, data[at + 4 : at + length]))
        at += (length + 3) & ~3
    return found


def test_elements_are_encoded_as_nft_encodes_them() -> None:
    batch, _ = transaction(1, {8000: 24006}, ())
    contents = [content for _, _, _, content in messages(batch)]
    assert sorted(attributes(contents[2][4:])) == sorted(attributes(ADD[4:]))
    assert contents[2][:4] == ADD[:4] == b"\x01\0\0\0"


@given(TARGETS, st.sets(PORTS, max_size=40), st.integers(1, 1 << 30))
def test_a_change_is_one_transaction_that_empties_and_fills_both(
    targets: dict[int, int], led: set[int], first: int
) -> None:
    batch, last = transaction(first, targets, led)
    sent = messages(batch)
    begin, *changes, end = sent
    assert (begin[0], end[0]) == (0x10, 0x11)
    assert [sequence for _, _, sequence, _ in sent] == list(range(first, first + len(sent)))
    assert last == sent[-2][2]
    assert [flags & 0x4 for _, flags, _, _ in changes] == [0x4] * len(changes)
    found: dict[bytes, list[tuple[int, ...]]] = {}
    for kind, _, _, content in changes:
        parts = dict(attributes(content[4:]))
        assert parts[1] == b"lekiwi\0"
        name = parts[2].rstrip(b"\0")
        if kind == 10 << 8 | 14:
            assert 3 not in parts and name not in found
            found[name] = []
        else:
            assert kind == 10 << 8 | 12 and name in found
            for _, item in attributes(parts[3]):
                values = [int.from_bytes(attributes(value)[0][1], "big") for _, value in attributes(item)]
                found[name].append(tuple(values))
    assert found == {b"ports": sorted(targets.items()), b"led": [(port,) for port in sorted(led)]}


def header(kind: int, port: int, content: bytes = b"") -> bytes:
    return struct.pack("=IHHII", 16 + len(content), kind, 0, 0, port) + content + bytes(-len(content) % 4)


def test_only_new_generations_tell_who_changed_something() -> None:
    events = header(10 << 8 | 12, 5, b"abcde") + header(10 << 8 | 15, 77, b"1234") + header(10 << 8 | 15, 78)
    assert changed_by(events) == {77, 78}
    assert changed_by(b"") == set()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_to_their_end(data: bytes) -> None:
    changed_by(data)


def test_the_whole_table_is_loaded_whatever_was_there_before() -> None:
    text = ruleset.whole({8000: 24001, 80: 24000}, {24000, 24001})
    assert "add element inet lekiwi ports { 80 : 24000, 8000 : 24001 }" in text
    assert "add element inet lekiwi led { 24000, 24001 }" in text
    for name in ("remote", "here", "guard"):
        assert text.index(f"flush chain inet lekiwi {name}") < text.index(f"add rule inet lekiwi {name} ")
    assert all(" inet lekiwi" in line for line in text.splitlines()), "nothing but our own table is named"


def test_an_empty_map_is_not_filled() -> None:
    assert ruleset.change({}, ()) == "flush map inet lekiwi ports\nflush set inet lekiwi led\n"


def test_a_listing_is_read() -> None:
    listing = b"""{"nftables": [{"metainfo": {"version": "1.0.6"}},
      {"table": {"family": "inet", "name": "lekiwi", "handle": 1}},
      {"map": {"family": "inet", "name": "ports", "table": "lekiwi", "type": "inet_service", "handle": 1, "map": "inet_service",
               "elem": [[80, 24000], [8000, 24001]]}},
      {"set": {"family": "inet", "name": "led", "table": "lekiwi", "type": "inet_service", "handle": 2, "elem": [24000]}},
      {"chain": {"family": "inet", "table": "lekiwi", "name": "remote", "handle": 3}},
      {"rule": {"family": "inet", "table": "lekiwi", "chain": "remote", "handle": 6, "expr": []}}%s]}"""
    found = ruleset.read(listing % b"")
    assert (found.targets, found.led, found.whole) == ({80: 24000, 8000: 24001}, {24000}, False)
    more = b"".join(b', {"rule": {"chain": "%s"}}' % name for name in (b"here", b"guard"))
    assert ruleset.read(listing % more).whole


@pytest.mark.parametrize("listing", [b"", b"{}", b"[]", b'{"nftables": [{"map": {"name": "ports", "elem": [1]}}]}'])
def test_what_is_no_listing_is_refused(listing: bytes) -> None:
    with pytest.raises(ValueError):
        ruleset.read(listing)
