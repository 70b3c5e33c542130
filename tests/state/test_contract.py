"""What every store does, whatever its medium: blobs whole or not at all, errors that name the file."""

import random
import sqlite3
import sys
import uuid

import pytest

from fyke.errors import StateError
from fyke.state import Store, open_store
from fyke.state.local import LocalStore
from fyke.state.remote import RemoteStore
from fyke.state.sqlite import ROW_BYTES, SqliteStore

KINDS = ["local", "sqlite", "memory", "file"]


def place(kind, folder):
    """Where a store of this kind can be opened, again and again."""
    return {
        "local": str(folder / "made" / "when" / "needed"),
        "sqlite": str(folder / "state.sqlite"),
        "memory": f"memory://{uuid.uuid4()}/checkpoints",
        "file": f"file://{folder}/by/url",
    }[kind]


@pytest.fixture(params=KINDS)
def where(request, tmp_path):
    return place(request.param, tmp_path)


@pytest.fixture
def store(where):
    opened = open_store(where)
    yield opened
    opened.close()


def test_a_store_is_picked_by_its_name(tmp_path):
    for kind, expected in zip(KINDS, [LocalStore, SqliteStore, RemoteStore, RemoteStore], strict=True):
        where = place(kind, tmp_path)
        opened = open_store(where)
        assert type(opened) is expected
        assert isinstance(opened, Store)
        assert opened.name == where
    with pytest.raises(StateError, match="folder: a path takes no options, got key"):
        open_store("folder", key="x")


def test_a_store_that_was_never_written_to_is_empty_and_stays_so_when_read(store, tmp_path):
    assert store.list() == []
    store.delete("none")
    with pytest.raises(StateError):
        store.load("none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytearray(b"abc"),
        memoryview(b"abcdef")[::2],
        memoryview(bytes(range(16))).cast("I"),
        [],
        [b"", b""],
        [b"one", bytearray(b"two"), memoryview(b"three")],
        (bytes([n]) * n for n in range(200)),
    ],
    ids=lambda data: type(data).__name__,
)
def test_a_blob_comes_back_as_it_was_given_whole_or_in_parts(store, where, data):
    parts = [data] if isinstance(data, bytes | bytearray | memoryview) else list(data)
    store.save("blob", iter(parts) if len(parts) != 1 else parts[0])
    assert open_store(where).load("blob") == b"".join(bytes(part) for part in parts)


@pytest.mark.parametrize("cut", [None, 1 << 20, ROW_BYTES, ROW_BYTES + 1])
def test_a_large_blob_comes_back(store, cut):
    data = random.Random(1).randbytes(2 * ROW_BYTES + 12_345)
    store.save("large", data if cut is None else (data[at : at + cut] for at in range(0, len(data), cut)))
    assert store.load("large") == data


def test_names_are_listed_ascending_and_deleted_ones_no_more(store, where):
    names = ["b.2", "a-1", "b.10", "A_", "0", "x" * 200]
    for name in names:
        store.save(name, name.encode())
    store.delete("b.2")
    store.delete("b.2")
    again = open_store(where)
    assert again.list() == sorted(set(names) - {"b.2"})
    assert all(again.load(name) == name.encode() for name in again.list())


def test_a_name_is_written_once(store):
    store.save("one", b"first")
    with pytest.raises(StateError, match="is there already; a blob is written once"):
        store.save("one", b"second")
    assert store.load("one") == b"first"
    store.delete("one")
    store.save("one", b"third")
    assert store.load("one") == b"third"


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../up", "a\0b", "ž", "x" * 201, "a b", None, 5, b"x"])
def test_what_is_no_name_is_an_error_everywhere(store, name):
    for call in (lambda: store.save(name, b""), lambda: store.load(name), lambda: store.delete(name)):
        with pytest.raises(StateError, match="is no name of a blob"):
            call()


def test_a_blob_that_is_not_there_is_an_error_that_names_it(store):
    store.save("one", b"")
    with pytest.raises(StateError, match="two") as error:
        store.load("two")
    assert store.name in str(error.value)


class Broken(Exception):
    pass


def test_parts_that_fail_half_way_leave_nothing(store, where):
    """What produces the parts may fail: then it is not the medium's fault, and the blob was never there."""

    def parts():
        yield b"half"
        raise Broken

    store.save("before", b"good")
    with pytest.raises((Broken, StateError)):
        store.save("blob", parts())
    again = open_store(where)
    assert again.list() == ["before"]
    assert again.load("before") == b"good"
    again.save("blob", b"whole")
    assert again.load("blob") == b"whole"


def test_other_files_in_the_place_are_left_alone_and_not_seen(tmp_path):
    for where in (tmp_path, f"file://{tmp_path}"):
        (tmp_path / ".hidden").write_text("x")
        (tmp_path / "a b.txt").write_text("x")
        store = open_store(str(where))
        store.save(f"blob{len(str(where))}", b"")
        assert [name for name in store.list() if not name.startswith("blob")] == []
    assert (tmp_path / ".hidden").exists()
    assert (tmp_path / "a b.txt").exists()


def test_a_folder_that_is_a_file_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("x")
    store = LocalStore(tmp_path / "file")
    for call in (store.list, lambda: store.save("a", b""), lambda: store.load("a")):
        with pytest.raises(StateError, match=r"file(/a)?: cannot be (listed|written|read): Not a directory"):
            call()


def test_a_database_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE part (name TEXT)")
    connection.commit()
    connection.close()
    store = SqliteStore(path)
    for call in (store.list, lambda: store.save("a", b""), lambda: store.load("a"), lambda: store.delete("a")):
        with pytest.raises(StateError, match=r"other\.sqlite: is the database of something else"):
            call()


def test_an_empty_file_is_no_store_that_never_was(tmp_path):
    """It may be all that is left of one; to take it for a fresh start would lose the state in silence."""
    (tmp_path / "state.sqlite").write_bytes(b"")
    store = SqliteStore(tmp_path / "state.sqlite")
    for call in (store.list, lambda: store.save("a", b""), lambda: store.load("a"), lambda: store.delete("a")):
        with pytest.raises(StateError, match=r"state\.sqlite: empty, so damaged; to begin anew, remove it"):
            call()


def test_a_url_without_fsspec_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StateError, match=r's3://bucket: a URL needs fsspec: pip install "fyke\[fsspec\]"'):
        open_store("s3://bucket")


def test_a_url_of_an_unknown_kind_is_an_error():
    with pytest.raises(StateError, match="nowhere://x: cannot be reached: Protocol not known: nowhere"):
        open_store("nowhere://x")
