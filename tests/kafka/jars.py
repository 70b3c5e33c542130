"""The broker's jars, fetched once from Maven Central into build/kafka/libs, and the Java that runs them.

Maven is asked again only when pom.xml changes. What is missing is an error that says how to get it: tests against a
real broker are never left out in silence.
"""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
LIBS = Path(__file__).parents[2] / "build" / "kafka" / "libs"
HOW = (
    "The Kafka tests start a real broker, which needs Java 17 or later, and Maven once to fetch it:\n"
    "  Debian, Ubuntu   apt install openjdk-17-jre-headless maven\n"
    "  macOS            brew install openjdk@17 maven\n"
    "Or name a broker of your own: FYKE_TEST_BROKERS=host:port. Or leave these tests out: -m 'not kafka'."
)


class BrokerError(RuntimeError):
    """No broker can be had; the text says what to do."""


def find_java() -> str:
    """Return the path of a Java 17 or later: that of JAVA_HOME, or the first of PATH."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise BrokerError(f"no Java found{f' in JAVA_HOME ({home})' if home else ''}.\n{HOW}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', said)
    if version is None or int(version[1]) < 17:
        raise BrokerError(f"{java} is too old: {said.partition(chr(10))[0] or 'it does not run'}\n{HOW}")
    return java


def fetch(pom: Path = POM, libs: Path = LIBS) -> str:
    """Return a class path with all jars of pom.xml, copied there by Maven unless they are there already."""
    wanted = hashlib.sha256(pom.read_bytes()).hexdigest()
    stamp = libs / "pom.sha256"
    if not stamp.exists() or stamp.read_text() != wanted:
        maven = shutil.which("mvn")
        if maven is None:
            raise BrokerError(f"no Maven (mvn) found in PATH.\n{HOW}")
        shutil.rmtree(libs, ignore_errors=True)
        goal = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        goal += ["-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
        done = subprocess.run(goal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise BrokerError(f"Maven could not fetch the broker:\n{done.stdout[-2000:]}\n{HOW}")
        stamp.write_text(wanted)
    return str(libs / "*")
