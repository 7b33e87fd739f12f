from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lekiwi_deploy.agent import spool as module
from lekiwi_deploy.agent.spool import Spool


def opened(folder: Path, **more: Any) -> Spool:
    return Spool(folder, **{"limit": 1 << 20, "durable": False, **more})


def numbers(spool: Spool, after: int = 0) -> list[int]:
    found: list[int] = []
    while (batch := spool.batch(after)) is not None:
        found += [json.loads(record)[0] for record in batch.records]
        after = batch.last
    return found


def test_records_are_numbered_from_one_and_kept_until_acknowledged(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    assert spool.append([b'{"a":1}', b'{"a":2}']) == 2
    batch = spool.batch(0)
    assert batch is not None
    assert [json.loads(record) for record in batch.records] == [[1, {"a": 1}], [2, {"a": 2}]]
    spool.acknowledge(1)
    assert numbers(opened(tmp_path), after=1) == [2]


def test_a_torn_end_is_cut_off(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b'"one"', b'"two"'], b'{"web":[1,2]}')
    (path,) = tmp_path.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(b'[3,"thr')
    again = opened(tmp_path)
    assert numbers(again) == [1, 2]
    assert again.mark == {"web": [1, 2]}
    again.append([b'"three"'])
    assert numbers(opened(tmp_path))[:2] == [1, 2]


def test_numbers_never_come_again_even_if_a_power_cut_loses_records(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    last = spool.append([b'"x"'] * 100)
    for path in tmp_path.glob("*.jsonl"):
        path.write_bytes(b"")
    assert opened(tmp_path).append([b'"y"']) > last


def test_debug_lines_go_first_and_what_went_is_counted(tmp_path: Path) -> None:
    module_size, module.SEGMENT_BYTES = module.SEGMENT_BYTES, 1000
    try:
        spool = opened(tmp_path, limit=5000, droppable=lambda record: b"debug" in record)
        for number in range(100):
            kind = "debug" if number % 2 else "info"
            spool.append([json.dumps({"level": kind, "text": "x" * 60}).encode()])
        kept = numbers(spool)
        batch = spool.batch(0)
        assert batch is not None
        assert batch.dropped == 100 - len(kept) > 0
        oldest = [json.loads(record)[1]["level"] for record in batch.records[:10]]
        assert set(oldest) == {"info"}
        assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= 6200
        spool.acknowledge(batch.last)
        spool.append([b'"new"'])
        after = spool.batch(batch.last)
        assert after is not None and after.dropped == 0
    finally:
        module.SEGMENT_BYTES = module_size


def test_the_mark_outlives_the_segments_that_carried_it(tmp_path: Path) -> None:
    size, module.SEGMENT_BYTES = module.SEGMENT_BYTES, 100
    try:
        spool = opened(tmp_path)
        last = spool.append([b'"%b"' % (b"x" * 200)], b'{"web":[1,200]}')
        spool.acknowledge(last)
        assert opened(tmp_path).mark == {"web": [1, 200]}
        assert numbers(opened(tmp_path)) == []
    finally:
        module.SEGMENT_BYTES = size


def test_a_server_that_knows_more_makes_unsent_records_newer(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b'"a"', b'"b"'], b'{"web":[1,2]}')
    spool.skip_to(500)
    assert numbers(spool) == [501, 502]
    assert numbers(opened(tmp_path)) == [501, 502]
    assert opened(tmp_path).mark == {"web": [1, 2]}


class Model(RuleBasedStateMachine):
    """Appends, acknowledgements and crashes, against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        module.SEGMENT_BYTES = 300
        self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
        self.spool = Spool(self.folder, limit=1 << 20, durable=True)
        self.kept: dict[int, str] = {}
        self.last = 0

    @rule(texts=st.lists(st.text(max_size=20), min_size=1, max_size=20))
    def append(self, texts: list[str]) -> None:
        last = self.spool.append([json.dumps(text).encode() for text in texts])
        assert last == self.last + len(texts)
        for text in texts:
            self.last += 1
            self.kept[self.last] = text

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.kept)))
        self.spool.acknowledge(number)
        self.kept = {seq: text for seq, text in self.kept.items() if seq > number}

    @rule()
    def crash(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder, limit=1 << 20, durable=True)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        found, after = {}, self.spool.acked
        while (batch := self.spool.batch(after, most=7)) is not None:
            found.update({json.loads(record)[0]: json.loads(record)[1] for record in batch.records})
            after = batch.last
        assert found == self.kept

    def teardown(self) -> None:
        import shutil

        self.spool.close()
        shutil.rmtree(self.folder)
        module.SEGMENT_BYTES = 512 << 10


Model.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestModel = Model.TestCase
