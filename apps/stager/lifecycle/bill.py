"""The bill of materials of a droplet: what lock files, installed packages and buildpacks say that it holds.

Nothing here may keep an app from being staged: a file that cannot be read says nothing.
"""
import hashlib
import json
import os
import re
from pathlib import Path

import jars
import lockfiles
from purls import component

MAX_COMPONENTS = 50_000
MAX_DEPTH = 4
MAX_LOCK_BYTES = 64 << 20
# Folders of installed packages: the lock file beside them says what they hold.
LEFT_OUT = {"node_modules", ".git", "__pycache__", "test", "tests", "examples"}
DIST_INFO = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)\.(dist-info|egg-info)$")


def write(contents, output):
    found, locks = {}, []
    app = contents / "app"
    for path in lock_paths(app):
        name = str(path.relative_to(contents))
        locks.append({"path": name, "checksum": "sha256:" + digest_of(path)})
        keep(found, lockfiles.read(path), name)
    for path in archives(app):
        keep(found, jars.read(path), str(path.relative_to(contents)))
    for path, entries in installed(contents):
        keep(found, entries, str(path.relative_to(contents)))
    for path in sorted((contents / "deps").glob("*/bom.json")):
        keep(found, from_cyclonedx(path), str(path.relative_to(contents)))
    listed = [found[purl] for purl in sorted(found)][:MAX_COMPONENTS]
    output.write_text(json.dumps({"components": listed, "lock_files": locks}))


def keep(found, entries, source):
    """What was found with a checksum says more than what was found without."""
    for entry in entries:
        present = found.get(entry["purl"])
        if present is None or (entry.get("checksum") and not present.get("checksum")):
            found[entry["purl"]] = {**entry, "source": source}


def walk(root, depth=0):
    """Files below a folder, sorted, without following links and without folders of installed packages."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            continue
        if entry.is_dir():
            if depth < MAX_DEPTH and entry.name not in LEFT_OUT:
                yield from walk(entry.path, depth + 1)
        elif entry.is_file():
            yield Path(entry.path)


def lock_paths(app):
    return [path for path in walk(app) if path.name in lockfiles.READERS and path.stat().st_size <= MAX_LOCK_BYTES]


def archives(app):
    # Spring's BOOT-INF/lib and WEB-INF/lib, distributions one level down.
    return [path for path in walk(app) if path.suffix in (".jar", ".war")]


def installed(contents):
    """Python packages as they lie in deps: (folder, components)."""
    places = ("lib/python3*/site-packages", "*/lib/python3*/site-packages", "venv/lib/python3*/site-packages", "*/site-packages")
    for lib in sorted({path for place in places for path in (contents / "deps").glob(f"*/{place}") if path.is_dir()}):
        entries = []
        for name in sorted(os.listdir(lib)):
            match = DIST_INFO.match(name)
            if match:
                entries.append(component("pypi", match["name"], match["version"]))
        yield lib, entries


def from_cyclonedx(path):
    try:
        listed = json.loads(path.read_text())["components"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    entries = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) or not isinstance(each.get("purl"), str) or not isinstance(each.get("name"), str):
            continue
        group = each.get("group")
        hashes = [one for one in each.get("hashes") or [] if isinstance(one, dict)]
        checksum = f"{str(hashes[0].get('alg', '')).lower().replace('-', '')}:{hashes[0].get('content', '')}" if hashes else None
        entries.append(
            {
                "purl": each["purl"],
                "name": f"{group}:{each['name']}" if group and each["purl"].startswith("pkg:maven/") else each["name"],
                "version": str(each.get("version", "")),
                "kind": "library" if each.get("type", "library") in ("library", "framework") else "application",
                "checksum": checksum,
            }
        )
    return entries


def digest_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as source:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
