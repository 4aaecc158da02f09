"""Apache Kafka's jars: found, or brought once by Maven."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from shared.errors import Unavailable, UsageError

VERSION = "4.3.1"
MIN_JAVA = 17
FETCH_S = 300
# One SLF4J binding only: Kafka's own dependencies bring log4j's as well.
OTHER_BINDINGS = "log4j-slf4j*-impl-*.jar"
POM = f"""<project><modelVersion>4.0.0</modelVersion>
 <groupId>local</groupId><artifactId>kafka-local</artifactId><version>1</version>
 <dependencyManagement><dependencies>
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-api</artifactId><version>2.0.18</version></dependency>
 </dependencies></dependencyManagement>
 <dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>2.0.18</version></dependency>
 </dependencies>
</project>
"""
WHAT_TO_INSTALL = (
    f"install Java {MIN_JAVA} or newer and Maven (Debian: apt-get install default-jre-headless maven), or "
    f"unpack kafka_2.13-{VERSION}.tgz from kafka.apache.org and set KAFKA_HOME to it, or use a broker of "
    "yours through TRILLIUM_KAFKA__BOOTSTRAP"
)


def find_java() -> str:
    """Return the java command. Raises Unavailable when there is none of version 17 or newer."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin")) if home else None
    java = java or shutil.which("java")
    if java is None:
        raise Unavailable(f"a local Kafka broker needs Java; {WHAT_TO_INSTALL}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < MIN_JAVA:
        first = (said.splitlines() or ["nothing"])[0]
        raise Unavailable(f"{java} says {first!r}; {WHAT_TO_INSTALL}")
    return java


def find_jars(home: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of Kafka's jars: KAFKA_HOME's `libs`, else `home/kafka/libs`; None when missing.

    Raises UsageError when KAFKA_HOME is set and holds no Kafka 3.9 or newer.
    """
    given = environment.get("KAFKA_HOME")
    libs = (Path(given) if given else home / "kafka") / "libs"
    if any(libs.glob("kafka_2.1*.jar")):
        return libs.absolute()
    if given:
        raise UsageError(f"KAFKA_HOME={given} holds no libs/kafka_2.1*.jar; correct it, or unset it")
    return None


def prepare(home: Path) -> Path:
    """Return the folder of Kafka's jars, bringing them by Maven when they are missing (55 MB, once).

    Raises Unavailable that says what to install.
    """
    find_java()
    found = find_jars(home)
    return found or _fetch(home.absolute() / "kafka")


def _fetch(folder: Path) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"Kafka's jars are not at {folder}, and Maven is not there; {WHAT_TO_INSTALL}")
    print(f"fetching Apache Kafka {VERSION} by Maven (55 MB, once)", file=sys.stderr)  # noqa: T201
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka.part.", dir=folder.parent) as aside:
        (Path(aside) / "pom.xml").write_text(POM, "utf-8")
        said = _copy_dependencies(maven, Path(aside))
        libs = Path(aside) / "libs"
        if not any(libs.glob("kafka_2.1*.jar")):
            raise Unavailable(f"Maven did not bring Kafka's jars: {said[-600:]}; {WHAT_TO_INSTALL}")
        for jar in libs.glob(OTHER_BINDINGS):
            jar.unlink()
        folder.mkdir(exist_ok=True)
        if not (folder / "libs").exists():  # another process may have been as quick
            libs.rename(folder / "libs")
    return folder / "libs"


def _copy_dependencies(maven: str, folder: Path) -> str:
    command = [
        maven,
        "-B",
        "-q",
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        "-DoutputDirectory=libs",
    ]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=FETCH_S
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {FETCH_S} s"
    return (done.stdout + done.stderr).strip()
