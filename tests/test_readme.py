"""The README's examples, run as they stand there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_python_examples_run_and_print_what_they_say(capsys):
    names = {}
    first, service, streams, application = blocks("python")
    exec(first, names)
    said = [line[2:] for line in first.splitlines() if line.startswith("# ")]
    assert capsys.readouterr().out.splitlines() == said == ["1234 0.5 940.0"]
    exec(service, names)
    assert [match.key for match in [*names["matches"], *names["rest"]]] == ["1234"]
    assert isinstance(names["state"], bytes)
    exec(streams, names)
    rest = names["rest"]
    assert [row["card"] for row in rest["alerts"]] == ["1234"]
    assert [(row["card"], row["n"]) for row in rest["hourly"]] == [("1234", 1)]
    definition, end = application.split("app.run()")
    exec(definition, names)
    assert end == "\n"
    assert "probe" in names["app"].explain()
    assert repr(names["app"]) == "App('card-testing': payments -> alerts, exactly_once)"


def test_the_python_example_can_be_typed_into_a_repl():
    """No blank line within a block that a REPL would take for its end."""
    first, *_ = blocks("python")
    done = subprocess.run([sys.executable, "-i"], input=first + "\n", capture_output=True, text=True, timeout=60)
    assert "1234 0.5 940.0" in done.stdout
    assert "Error" not in done.stderr


def test_commands_run(tmp_path):
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("fyke ")]
    assert len(commands) == 3
    for command in commands:
        arguments = shlex.split(command.replace("--rows 1000000", "--rows 20000"))[1:]
        done = subprocess.run(
            [sys.executable, "-m", "fyke", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "matches.jsonl").read_text().count("\n") > 0


def test_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 5
    for link in links:
        assert (Path(__file__).parents[1] / link).exists(), link


def test_the_two_commands_are_targets_of_make():
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    assert all(f"\n{target}: build" in makefile for target in ("demo", "test"))
