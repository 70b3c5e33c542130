"""The broker itself: it can be had or says what is missing, it keeps its data, it ends."""

import os

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from tests.kafka import jars, supervisor
from tests.kafka.broker import Broker, answers
from tests.kafka.jars import BrokerError


def test_without_java_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(BrokerError, match=r"(?s)no Java found.*apt install.*FYKE_TEST_BROKERS"):
        jars.find_java()


def test_a_java_that_is_too_old_is_an_error(monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_402\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BrokerError, match=r"(?s)too old: openjdk version .1\.8.*Java 17 or later"):
        jars.find_java()


def test_without_maven_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match=r"(?s)no Maven.*apt install.*FYKE_TEST_BROKERS"):
        jars.fetch(libs=tmp_path / "libs")


def test_maven_is_not_asked_again_for_what_is_there(monkeypatch, tmp_path):
    maven = tmp_path / "mvn"
    maven.write_text('#!/bin/sh\nfor a; do case $a in -DoutputDirectory=*) /bin/mkdir -p "${a#*=}";; esac; done\n')
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert jars.fetch(libs=tmp_path / "libs") == str(tmp_path / "libs" / "*")
    maven.unlink()
    assert jars.fetch(libs=tmp_path / "libs") == str(tmp_path / "libs" / "*")


def test_a_maven_that_fails_is_quoted(monkeypatch, tmp_path):
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho 'Could not transfer artifact'; exit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="Could not transfer artifact"):
        jars.fetch(libs=tmp_path / "libs")


@pytest.mark.kafka
@pytest.mark.skipif("FYKE_TEST_BROKERS" in os.environ, reason="the broker of FYKE_TEST_BROKERS is not ours to kill")
def test_a_killed_broker_started_again_has_its_address_and_its_topics(tmp_path):
    with Broker(tmp_path, seconds=120) as broker:
        address = broker.address
        admin = AdminClient({"bootstrap.servers": address})
        admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
        broker.kill()
        assert not answers(address, within_s=0.1)
        assert broker.start() == address
        assert "kept" in admin.list_topics(timeout=10).topics
    assert supervisor.running(tmp_path) is None
    assert not answers(address, within_s=0.1)
