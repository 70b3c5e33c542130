"""Checkpoints: the last good one comes back with its position, or an error says which file is wrong."""

import json
import random
import warnings

import pytest
import xxhash

import fyke
from fyke import col
from fyke.errors import StateError
from fyke.io.memory import Memory
from fyke.state import checkpoint, open_store
from fyke.state.checkpoint import Checkpoint, Checkpoints
from fyke.state.local import LocalStore
from tests.state.test_contract import KINDS, place

PLAN = "5f1c"


@pytest.fixture(params=KINDS)
def where(request, tmp_path):
    return place(request.param, tmp_path)


@pytest.fixture
def folder(tmp_path):
    """A folder with checkpoints 1, 2 and 3."""
    checkpoints = Checkpoints(LocalStore(tmp_path))
    for n in (1, 2, 3):
        checkpoints.save(f"state {n}".encode(), position={"row": n}, fingerprint=PLAN)
    return tmp_path


def test_the_latest_comes_back_with_its_position(where):
    checkpoints = Checkpoints(open_store(where))
    assert checkpoints.latest() is None
    assert checkpoints.save(b"one", position={"row": 1}, fingerprint=PLAN) == 1
    assert checkpoints.save([b"t", b"w", b"o"], position=[1, "x", None], fingerprint=PLAN) == 2
    again = Checkpoints(open_store(where))
    assert again.latest(PLAN) == Checkpoint(2, [1, "x", None], PLAN, b"two")
    assert again.load(1) == Checkpoint(1, {"row": 1}, PLAN, b"one")
    assert again.save(b"", position=None, fingerprint=PLAN) == 3
    assert Checkpoints(open_store(where)).latest().payload == b""


def test_the_last_few_are_kept(where):
    checkpoints = Checkpoints(open_store(where), keep=2)
    for n in range(5):
        checkpoints.save(b"x", position=n, fingerprint=PLAN)
    assert checkpoints.numbers() == [4, 5]
    with pytest.raises(StateError, match="checkpoint.000000000003"):
        checkpoints.load(3)


def test_tasks_share_a_store_and_do_not_see_each_other(where):
    store = open_store(where)
    names = ["payments-0", "payments-1", "payments", "a.b"]
    tasks = {name: Checkpoints(store, task=name, keep=1) for name in names}
    for n in range(3):
        for name, task in tasks.items():
            task.save(f"{name} {n}".encode(), position=n, fingerprint=PLAN)
    for name, task in tasks.items():
        assert task.latest().payload == f"{name} 2".encode()
    assert len(store.list()) == 4


def test_another_plan_is_an_error_that_names_both(folder):
    with pytest.raises(StateError, match=r"checkpoint\.000000000003: is of the plan 5f1c, not 77aa"):
        Checkpoints(LocalStore(folder)).latest("77aa")


@pytest.mark.parametrize("position", [(1, 2), {1: 2}, float("nan"), object(), b"x", {"a": {1, 2}}])
def test_a_position_that_json_would_change_is_an_error_and_nothing_is_saved(tmp_path, position):
    checkpoints = Checkpoints(LocalStore(tmp_path / "state"))
    with pytest.raises(StateError, match=r"000000000001: the position .* would not come back from JSON"):
        checkpoints.save(b"", position=position, fingerprint=PLAN)
    assert checkpoints.numbers() == []


def file_of(folder, number):
    return folder / f"checkpoint.{number:012}"


DAMAGES = {
    "cut off": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"x",
    "zeroed": lambda data: bytes(len(data)),
    "a bit of the payload": lambda data: data[:10] + bytes([data[10] ^ 1]) + data[11:],
    "a bit of the manifest": lambda data: data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
    "a bit of the tail": lambda data: data[:-18] + bytes([data[-18] ^ 1]) + data[-17:],
    "something else": lambda data: b"hello" * 100,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_last_is_damaged_the_one_before_is_taken_and_told(folder, damage):
    path = file_of(folder, 3)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    checkpoints = Checkpoints(LocalStore(folder))
    with pytest.warns(RuntimeWarning, match=r"checkpoint\.000000000003: damaged: .*; going on from .*000000000002"):
        assert checkpoints.latest(PLAN) == Checkpoint(2, {"row": 2}, PLAN, b"state 2")
    with pytest.raises(StateError, match=r"checkpoint\.000000000003: damaged"):
        checkpoints.latest(on_damage="error")
    with pytest.raises(StateError, match=r"checkpoint\.000000000003: damaged"):
        checkpoints.load(3)


def test_every_bit_counts(folder):
    data = file_of(folder, 3).read_bytes()
    checkpoints = Checkpoints(LocalStore(folder))
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        file_of(folder, 3).write_bytes(damaged)
        with pytest.raises(StateError, match=r"checkpoint\.000000000003: damaged"):
            checkpoints.load(3)


def test_a_checkpoint_under_another_name_is_damage(folder):
    file_of(folder, 9).write_bytes(file_of(folder, 1).read_bytes())
    (folder / "other.000000000001").write_bytes(file_of(folder, 1).read_bytes())
    with pytest.warns(RuntimeWarning, match=r"damaged: it is checkpoint\.000000000001 under another name"):
        assert Checkpoints(LocalStore(folder)).latest().number == 3
    with pytest.raises(StateError, match=r"other\.000000000001: damaged: it is checkpoint\.000000000001"):
        Checkpoints(LocalStore(folder), task="other").latest()


def test_where_all_are_damaged_the_error_names_them_all(folder):
    for number in (1, 2, 3):
        file_of(folder, number).write_bytes(b"")
    with pytest.raises(StateError, match="no checkpoint can be restored: .*03: damaged.*02: damaged.*01: damaged"):
        Checkpoints(LocalStore(folder)).latest()


def test_the_good_one_is_not_let_go_for_the_sake_of_damaged_ones(folder):
    for number in (2, 3):
        file_of(folder, number).write_bytes(b"")
    checkpoints = Checkpoints(LocalStore(folder), keep=2)
    with pytest.warns(RuntimeWarning):
        assert checkpoints.latest().number == 1
    checkpoints.save(b"x", position=4, fingerprint=PLAN)
    assert checkpoints.numbers() == [1, 2, 3, 4]
    checkpoints.save(b"x", position=5, fingerprint=PLAN)
    assert checkpoints.numbers() == [4, 5]


def test_what_cannot_be_read_is_no_damage_and_never_a_reason_to_go_back(folder, monkeypatch):
    def refuse(self, name):
        raise StateError(f"{name}: cannot be read: Permission denied")

    monkeypatch.setattr(LocalStore, "load", refuse)
    with pytest.raises(StateError, match="000000000003: cannot be read: Permission denied"):
        Checkpoints(LocalStore(folder)).latest()


def test_another_version_is_an_error_and_no_damage(folder):
    manifest = json.dumps({"version": 2, "name": "checkpoint.000000000003"}).encode()
    tail = checkpoint._TAIL.pack(len(manifest), xxhash.xxh3_64_intdigest(manifest), checkpoint.MAGIC)
    file_of(folder, 3).write_bytes(checkpoint.MAGIC + manifest + tail)
    with pytest.raises(StateError, match="000000000003: is of version 2; this is a reader of version 1"):
        Checkpoints(LocalStore(folder)).latest()


@pytest.mark.parametrize(
    "manifest", [b"", b"[]", b"5", b"{}", b"\xff", b'{"version": 1}', b'{"version": 1, "name": 5}']
)
def test_a_forged_manifest_is_damage_and_nothing_worse(folder, manifest):
    tail = checkpoint._TAIL.pack(len(manifest), xxhash.xxh3_64_intdigest(manifest), checkpoint.MAGIC)
    file_of(folder, 3).write_bytes(checkpoint.MAGIC + manifest + tail)
    with pytest.raises(StateError, match="000000000003: damaged"):
        Checkpoints(LocalStore(folder)).load(3)


def test_old_ones_that_cannot_be_removed_are_told_and_the_new_one_is_safe(folder, monkeypatch):
    checkpoints = Checkpoints(LocalStore(folder), keep=1)
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "delete", failing)
        with pytest.warns(RuntimeWarning, match="cannot be deleted.*; older checkpoints are still there"):
            checkpoints.save(b"4", position=4, fingerprint=PLAN)
    assert checkpoints.latest().payload == b"4"
    checkpoints.save(b"5", position=5, fingerprint=PLAN)
    assert checkpoints.numbers() == [5]


def failing(self, name):
    raise StateError(f"{name}: cannot be deleted: Permission denied")


def test_a_number_is_not_used_again_after_a_failure(folder, monkeypatch):
    checkpoints = Checkpoints(LocalStore(folder))
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "save", lambda self, name, data: failing(self, name))
        with pytest.raises(StateError):
            checkpoints.save(b"", position=4, fingerprint=PLAN)
    assert checkpoints.save(b"", position=5, fingerprint=PLAN) == 5


@pytest.mark.parametrize("keep", [0, -1])
def test_none_to_keep_is_an_error(tmp_path, keep):
    with pytest.raises(StateError, match="keep must be at least 1"):
        Checkpoints(LocalStore(tmp_path), keep=keep)


def test_a_good_checkpoint_gives_no_warning(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Checkpoints(LocalStore(folder)).latest(PLAN).number == 3


def test_an_engine_goes_on_from_its_checkpoint(tmp_path):
    spree = fyke.begin("probe", col.amount < 1).followed_by("spree", col.amount > 500).within("10m").by("card")
    rng = random.Random(3)
    rows = [{"ts": n, "card": rng.choice("ab"), "amount": rng.choice([0.5, 20.0, 900.0])} for n in range(200)]
    whole = [match.id for match in fyke.replay(rows, spree, time="ts", unit="s")]
    engine, source = fyke.Engine(spree, time="ts", unit="s"), Memory(rows, batch_size=30)
    checkpoints, found = Checkpoints(LocalStore(tmp_path)), []
    for batch in source:
        found += [match.id for match in engine.push(batch.rows)]
        if batch.first == 90:
            checkpoints.save(engine.snapshot(), position=source.position, fingerprint=PLAN)
            break
    last = Checkpoints(LocalStore(tmp_path)).latest(PLAN)
    engine, source = fyke.Engine.restore(last.payload, spree, time="ts", unit="s"), Memory(rows)
    source.seek(last.position)
    for batch in source:
        found += [match.id for match in engine.push(batch.rows)]
    assert found == whole
    assert len(found) > 10
