"""Asks the platform for a runtime.

The staging container cannot write to the store of runtimes, which all apps share. It leaves a request in a folder; the platform looks the
dependency up in this buildpack's manifest.yml, downloads and verifies it if need be, and answers with a folder that is mounted read-only.
"""
import json
import os
import time
from pathlib import Path

from . import log

STAGE = Path("/tmp/stage")
WAIT_SECONDS = 300


class Unavailable(Exception):
    """No such version, or the source cannot be reached; the text is for the user."""


def plan():
    """What the platform has told the builder about this staging."""
    try:
        return json.loads((STAGE / "plan.json").read_text())
    except FileNotFoundError:
        return {}


def obtain(buildpack, dependency, version_range):
    """{"path", "droplet", "version"} of the newest version in the range; "droplet" holds only what an app needs at run time."""
    requests, answers = STAGE / "requests", STAGE / "answers"
    name = f"{os.getpid()}-{time.monotonic_ns()}.json"
    partial = requests / f".{name}"
    partial.write_text(json.dumps({"buildpack": buildpack, "dependency": dependency, "range": version_range}))
    partial.rename(requests / name)
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = json.loads((answers / name).read_text())
        except FileNotFoundError:
            time.sleep(0.01)
            continue
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer
    raise Unavailable(f"the platform did not provide {dependency} {version_range} within {WAIT_SECONDS} s; push again")


def obtain_or_fail(buildpack, dependency, version_range):
    try:
        return obtain(buildpack, dependency, version_range)
    except Unavailable as error:
        log.fail(f"Unable to install {dependency}: {error}")
