"""Savepoints: states by name, beside checkpoints that come and go."""

import pytest

from fyke.errors import StateError
from fyke.state import open_store
from fyke.state.checkpoint import Checkpoints
from fyke.state.savepoint import Savepoints


@pytest.fixture(params=["{}/folder", "{}/state.sqlite", "memory://savepoints{}"])
def store(request, tmp_path):
    return open_store(request.param.format(tmp_path))


def test_a_savepoint_is_kept_by_its_name_and_outlives_the_checkpoints(store):
    savepoints, checkpoints = Savepoints(store), Checkpoints(store, keep=1, task="t")
    savepoints.save("v1", [b"sta", b"te"], position={"row": 5}, fingerprint="f")
    for row in range(5):
        checkpoints.save(b"x", position=row, fingerprint="f")
    assert checkpoints.numbers() == [5]
    assert savepoints.names() == ["v1"]
    found = savepoints.load("v1")
    assert (found.payload, found.position, found.fingerprint) == (b"state", {"row": 5}, "f")


def test_a_name_is_taken_once_and_can_be_deleted(store):
    savepoints = Savepoints(store)
    savepoints.save("v1", b"a")
    with pytest.raises(StateError, match="v1"):
        savepoints.save("v1", b"b")
    assert savepoints.load("v1").payload == b"a"
    savepoints.delete("v1")
    savepoints.delete("v1")
    assert savepoints.names() == []


def test_a_savepoint_under_another_name_or_changed_does_not_load(tmp_path):
    savepoints = Savepoints(open_store(str(tmp_path)))
    savepoints.save("v1", b"state")
    data = (tmp_path / "v1.savepoint").read_bytes()
    (tmp_path / "v2.savepoint").write_bytes(data)
    with pytest.raises(StateError, match="it is v1.savepoint under another name"):
        savepoints.load("v2")
    (tmp_path / "v1.savepoint").write_bytes(data.replace(b"state", b"stale"))
    with pytest.raises(StateError, match="v1.savepoint: damaged"):
        savepoints.load("v1")


def test_a_position_that_json_does_not_hold_is_refused(store):
    with pytest.raises(StateError, match="would not come back from JSON"):
        Savepoints(store).save("v1", b"", position={1: 2})
