"""What a buildpack has put into the droplet: deps/<index>/bom.json, a CycloneDX list of components.

Sorted and without dates, so that the same input gives the same bytes.
"""
import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

# By the name in lock files: the name in CycloneDX, and the digest's length in hexadecimal digits.
ALGORITHMS = {"md5": ("MD5", 32), "sha1": ("SHA-1", 40), "sha256": ("SHA-256", 64), "sha384": ("SHA-384", 96), "sha512": ("SHA-512", 128)}


def purl(kind, name, version, namespace=None):
    """pkg:npm/%40scope/name@1.0.0"""
    whole = f"{namespace}/{name}" if namespace else name
    encoded = "/".join(quote(part, safe=".-_~") for part in whole.split("/"))
    return f"pkg:{kind}/{encoded}@{quote(version, safe='.-_~+')}"


def library(kind, name, version, hashes=(), namespace=None):
    """A component. `hashes`: checksums as lock files write them: sha512-BASE64, sha256:HEX, sha256=HEX."""
    component = {"type": "library", "name": name, "version": version, "purl": purl(kind, name, version, namespace)}
    if namespace:
        component["group"] = namespace
    found = sorted((parsed for parsed in map(parse_hash, hashes) if parsed), key=lambda each: (each["alg"], each["content"]))
    if found:
        component["hashes"] = found
    return component


def runtime(dependency, found):
    """The component for an answer of the platform."""
    kinds = {"npm": "npm", "pypi": "pypi", "gomod": "golang", "maven": "maven"}
    kind = kinds.get(found["from"], "generic")
    name = found.get("name") or dependency
    namespace, _, own = name.rpartition(":") if kind == "maven" else ("", "", name)
    component = library(kind, own, found["version"], filter(None, [found.get("checksum")]), namespace or None)
    return {**component, "type": "platform", "name": dependency, "properties": [{"name": "bloomery:source", "value": found["from"]}]}


def of_stack(name, version):
    """The component for a program that the stack has and the app is started by."""
    return runtime(name, {"from": "stack-image", "version": version})


def stack(environment=os.environ, release=Path("/etc/os-release")):
    """What the app runs on: the system of the stack, or of a machine without containers."""
    text = release.read_text("utf-8", "replace") if release.is_file() else ""
    named = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name, version = (named.get(key, "").strip("'\"") for key in ("ID", "VERSION_ID"))
    component = {**library("generic", name or "linux", version or "0"), "type": "operating-system"}
    called = environment.get("CF_STACK")
    return {**component, "properties": [{"name": "bloomery:stack", "value": called}]} if called else component


def parse_hash(text):
    for separator in ("-", ":", "="):
        algorithm, found, value = str(text).partition(separator)
        name, length = ALGORITHMS.get(algorithm.lower(), (None, 0))
        if not found or not name:
            continue
        try:
            content = value.lower() if len(value) == length else base64.b64decode(value).hex()
        except ValueError:
            return None
        return {"alg": name, "content": content} if len(content) == length else None
    return None


def add(staging, *components):
    """Adds to what this buildpack has listed so far."""
    staging.own.mkdir(parents=True, exist_ok=True)
    path = staging.own / "bom.json"
    present = json.loads(path.read_text())["components"] if path.is_file() else []
    known = {(each.get("purl"), each["name"], each.get("version", "")): each for each in [*present, *components]}
    listed = [known[key] for key in sorted(known, key=lambda key: tuple(str(part) for part in key))]
    text = json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": listed}, indent=1)
    path.write_text(text + "\n")
