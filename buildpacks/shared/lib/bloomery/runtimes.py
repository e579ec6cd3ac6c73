"""Asks the platform for a runtime.

The staging container cannot write to the store of runtimes, which all apps share. It leaves a request in a folder; the platform looks the
dependency up in this buildpack's manifest.yml, goes through its sources, downloads and verifies what is missing, and answers with a folder that
is mounted read-only. With the request goes what the buildpack could have without the platform: the version that the stack has, and files that
the buildpack carries itself (a "cached" buildpack).
"""
import hashlib
import json
import os
import time
from pathlib import Path

from . import bom, log, yaml_file

STAGE = Path("/tmp/stage")
WAIT_SECONDS = 600
SILENT_SECONDS = 3


class Unavailable(Exception):
    """No such version, or no source can be reached; the text is for the user."""


def plan():
    """What the platform has told the builder about this staging."""
    try:
        return json.loads((STAGE / "plan.json").read_text())
    except FileNotFoundError:
        return {}


def obtain(buildpack, dependency, version_range, offered=()):
    """The platform's answer. "version", and "from": the kind of source.

    For "stack-image" and "carried" that is all; otherwise "path" is the folder, "droplet" the one with what an app needs at run time, "name"
    what the source calls it, and "checksum" what its archive was found to have.
    """
    requests, answers = STAGE / "requests", STAGE / "answers"
    name = f"{os.getpid()}-{time.monotonic_ns()}.json"
    partial = requests / f".{name}"
    request = {"buildpack": buildpack, "dependency": dependency, "range": version_range, "offered": list(offered)}
    partial.write_text(json.dumps(request))
    partial.rename(requests / name)
    began = time.monotonic()
    said = False
    while time.monotonic() < began + WAIT_SECONDS:
        if not said and time.monotonic() > began + SILENT_SECONDS:
            said = True
            log.info(f"{dependency} {version_range} is being fetched to this machine, where it stays for later pushes")
        try:
            answer = json.loads((answers / name).read_text())
        except FileNotFoundError:
            time.sleep(0.01)
            continue
        if "error" in answer:
            raise Unavailable(answer["error"])
        return answer
    raise Unavailable(f"the platform did not provide {dependency} {version_range} within {WAIT_SECONDS} s; push again")


def obtain_or_fail(staging, dependency, version_range, in_stack=None):
    """As `obtain`, for the buildpack of this staging. `in_stack`: the version that the stack has, if any. Ends staging where there is none."""
    carried = carried_files(staging, dependency)
    offered = offers(staging, dependency)
    if in_stack:
        offered.append({"version": in_stack, "from": "stack-image"})
    try:
        found = obtain(staging.name, dependency, version_range, offered)
    except Unavailable as error:
        log.fail(f"Unable to install {dependency}: {error}")
    if found["from"] == "carried":
        found["file"] = carried_file(staging, next(each for each in carried if same(each["version"], found["version"])))
        found["checksum"] = "sha256:" + found["file"][1]
    bom.add(staging, bom.runtime(dependency, found))
    return found


def offers(staging, dependency):
    """What the buildpack itself has, which comes before every source."""
    return [{"version": entry["version"], "from": "carried"} for entry in carried_files(staging, dependency)]


def same(one, other):
    return one.split("-")[0].lstrip("v") == other.split("-")[0].lstrip("v")


def carried_files(staging, dependency):
    """Entries of the manifest's `carried` list: files within the buildpack, as buildpacks/package.mjs puts them there."""
    path = staging.buildpack / "manifest.yml"
    # To read YAML takes longer than all else that is done for a runtime, and only cached buildpacks have this list.
    carries = path.is_file() and "carried" in path.read_text("utf-8", "replace")
    found = yaml_file.read_any(path) if carries else {}
    entries = found.get("carried") if isinstance(found, dict) else None
    return [each for each in entries or [] if each.get("name") == dependency]


def carried_file(staging, entry):
    path = staging.buildpack / entry["file"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    if digest != entry["sha256"]:
        log.fail(f"{entry['file']} in this buildpack is missing or does not have the checksum that its manifest names")
    return path, digest
