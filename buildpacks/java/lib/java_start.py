"""Runs at each start of a Java app and prints what the shell is to export: memory by the limit of now, trusted certificates of now.

What is known since staging lies in java.json beside it.
"""
import json
import os
import re
import shlex
import sys
from pathlib import Path

sys.dont_write_bytecode = True
HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import java_memory  # noqa: E402
import truststore  # noqa: E402


def main():
    known = json.loads((HERE / "java.json").read_text())
    user = os.environ.get("JAVA_OPTS", "")
    fixed = known["java_opts"]
    after = user if known["from_environment"] else ""
    options = ["-Djava.io.tmpdir=" + os.environ.get("TMPDIR", "/tmp"), f"-XX:ActiveProcessorCount={len(os.sched_getaffinity(0))}", "-XX:+ExitOnOutOfMemoryError"]
    limit = os.environ.get("MEMORY_LIMIT", "")
    if limit and known["memory_calculator"]:
        settings = {**known["calculator"], **now(os.environ.get("JBP_CONFIG_OPEN_JDK_JRE", ""))}
        classes = settings.get("class_count") or java_memory.loaded_classes(known["classes"])
        threads, headroom = settings.get("stack_threads", java_memory.THREADS), settings.get("headroom", 0)
        parts = java_memory.divide(java_memory.size_of(limit), classes, threads, headroom, f"{fixed} {after}")
        print(
            f"JVM Memory Configuration: {' '.join(parts)} (Total Memory: {limit.upper()}, Thread Count: {threads}, "
            f"Loaded Class Count: {classes}, Headroom: {headroom}%)",
            file=sys.stderr,
        )
        options += parts
    options += trust()
    print(f"export JAVA_OPTS={shlex.quote(' '.join(filter(None, [*options, fixed, after])))}")


def now(text):
    """The calculator's settings may change without a new staging."""
    found = re.findall(r"(stack_threads|class_count|headroom)[\"']?\s*:\s*[\"']?(\d+)", text)
    return {name: int(value) for name, value in found}


def trust():
    files = truststore.system_files()
    folder = os.environ.get("TMPDIR", "/tmp")
    if not files or "javax.net.ssl.trustStore=" in os.environ.get("JAVA_OPTS", ""):
        return []
    path = os.path.join(folder, "truststore.jks")
    truststore.write(path, files)
    return [f"-Djavax.net.ssl.trustStore={path}", f"-Djavax.net.ssl.trustStorePassword={truststore.PASSWORD}"]


try:
    main()
except (java_memory.TooSmall, ValueError) as error:
    print(error, file=sys.stderr)
    sys.exit(1)
