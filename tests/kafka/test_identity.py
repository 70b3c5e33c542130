"""Who an instance is: the same at every start, and nobody else at the same time."""

import subprocess
import sys

import pytest

from fyke.errors import DefinitionError, StateError
from fyke.kafka.identity import FILE, Instance


def test_an_instance_is_the_same_after_a_restart(tmp_path):
    with Instance.open("app", tmp_path / "new" / "folder") as first:
        pass
    with Instance.open("app", tmp_path / "new" / "folder") as second:
        assert second.id == first.id
        assert second.transactional_id(2) == f"app-{first.id}-2"
        assert second.is_stable
        assert second.wait_s(15) == 0


def test_two_folders_are_two_instances(tmp_path):
    with Instance.open("app", tmp_path / "a") as a, Instance.open("app", tmp_path / "b") as b:
        assert a.transactional_id() != b.transactional_id()


def test_a_folder_in_use_is_refused(tmp_path):
    with Instance.open("app", tmp_path), pytest.raises(StateError, match="another process runs with this state folder"):
        Instance.open("app", tmp_path)
    Instance.open("app", tmp_path).close()


def test_a_killed_owner_leaves_the_folder_free(tmp_path):
    code = (
        "import os, sys; from fyke.kafka.identity import Instance\n"
        f"held = Instance.open('app', {str(tmp_path)!r}); print(held.id, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -9
    with Instance.open("app", tmp_path) as heir:
        assert heir.id == done.stdout.strip()


def test_without_a_folder_the_id_is_given_or_new_each_time():
    assert Instance.open("app", given="pod-3").transactional_id() == "app-pod-3-0"
    first, second = Instance.open("app"), Instance.open("app")
    assert first.id != second.id


def test_a_random_id_has_to_wait_for_what_its_predecessor_left_open():
    assert Instance.open("app").wait_s(15) == 15
    assert Instance.open("app", given="pod-3").wait_s(15) == 0


def test_a_given_id_is_kept_in_the_folder_and_another_one_refused_there(tmp_path):
    Instance.open("app", tmp_path, given="pod-3").close()
    assert Instance.open("app", tmp_path).id == "pod-3"
    with pytest.raises(StateError, match="belongs to instance pod-3, not to pod-4"):
        Instance.open("app", tmp_path, given="pod-4")


def test_half_an_id_that_was_never_used_is_written_anew(tmp_path):
    (tmp_path / FILE).write_text("0123abc")  # no line: it died while writing
    with Instance.open("app", tmp_path) as instance:
        assert len(instance.id) == 32
        assert (tmp_path / FILE).read_text() == instance.id + "\n"


def test_a_damaged_file_is_an_error_and_left_as_it_is(tmp_path):
    (tmp_path / FILE).write_text("not an id\n")
    with pytest.raises(StateError, match="'not an id' is no instance's id"):
        Instance.open("app", tmp_path)
    assert (tmp_path / FILE).read_text() == "not an id\n"


@pytest.mark.parametrize("name", ["", "two words", "a/b", "ä", "x" * 201])
def test_a_name_that_kafka_would_refuse_is_refused_here(name):
    with pytest.raises(DefinitionError, match="allowed are 1 to 200 letters"):
        Instance.open(name)
    with pytest.raises(DefinitionError, match="instance "):
        Instance.open("app", given=name)
