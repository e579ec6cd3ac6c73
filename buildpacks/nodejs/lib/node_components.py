"""The packages that the lock file names, as components; those for development alone are left out where the lock tells."""
import json
import re

from bloomery import bom

YARN_ENTRY = re.compile(r'^"?(@?[^@"\s]+)@[^\n]*:\n((?:[ ]+.*\n?)+)', re.MULTILINE)
BERRY = re.compile(r'^\s+resolution: "(@?[^@"]+)@npm:([^"]+)"', re.MULTILINE)
PNPM = re.compile(r"^  '?/?(@?[^@\s'(]+)[@/](\d[^\s:'(]*)(?:\([^\n]*\))?'?:\n((?:    .*\n)*)", re.MULTILINE)


def components(package):
    lock = package.lock()
    if not lock:
        return []
    text = lock.read_text("utf-8-sig", "replace")
    if lock.suffix == ".json":
        return from_npm(text)
    return from_pnpm(text) if lock.name == "pnpm-lock.yaml" else from_yarn(text)


def from_npm(text):
    try:
        packages = json.loads(text).get("packages")
    except ValueError:
        return []
    found = []
    for path, entry in (packages or {}).items():
        if not path or not isinstance(entry, dict) or entry.get("dev") or entry.get("link") or not entry.get("version"):
            continue
        name = entry.get("name") or path.rpartition("node_modules/")[2]
        found.append(bom.library("npm", name, entry["version"], str(entry.get("integrity", "")).split()))
    return found


def from_yarn(text):
    berry = BERRY.findall(text)
    if berry:
        return [bom.library("npm", name, version) for name, version in berry]
    found = []
    for name, body in YARN_ENTRY.findall(text):
        version = re.search(r'^\s+version "([^"]+)"', body, re.MULTILINE)
        integrity = re.search(r"^\s+integrity (\S+)", body, re.MULTILINE)
        if version:
            found.append(bom.library("npm", name, version.group(1), [integrity.group(1)] if integrity else []))
    return found


def from_pnpm(text):
    start = text.find("\npackages:")
    found = []
    for name, version, body in PNPM.findall(text[start:] if start >= 0 else ""):
        if re.search(r"^\s+dev: true", body, re.MULTILINE):
            continue
        integrity = re.search(r"integrity: ([^\s,}]+)", body)
        found.append(bom.library("npm", name.rstrip("/"), version, [integrity.group(1)] if integrity else []))
    return found
