"""Where packages lie that a lock of npm names by version and checksum alone.

For each of those npm asks its registry for all that it knows of the package, only to learn an address that is the same for nearly every
package of every registry. What comes from there is checked by the lock's checksum, so a wrong guess is an error and never another package.
"""
import json
import os
import re

REGISTRY_OF_ITS_OWN = re.compile(r"^\s*([^=#;]*:)?(registry|replace-registry-host)\s*=", re.MULTILINE)


class Addressed:
    """The lock with addresses, in its place while npm installs by it. `pushed` is as it came, to the bit and to the second, afterwards."""

    def __init__(self, lock, text, added):
        self.lock, self.text, self.added = lock, text, added
        self.kept = lock.with_name(f".{lock.name}.pushed")

    def __enter__(self):
        self.lock.rename(self.kept)
        self.lock.write_text(self.text)
        return self

    def __exit__(self, *_failure):
        self.kept.replace(self.lock)

    def forget(self, modules):
        """Of what npm notes beside the packages the addresses are taken out: so it is the same whichever way they were found."""
        noted = modules / ".package-lock.json"
        if noted.is_file():
            text = noted.read_text("utf-8")
            noted.write_text(ADDRESS.sub(lambda match: "" if match.group(1) in self.added else match.group(0), text))


ADDRESS = re.compile(r'^[ \t]*"resolved": "([^"]*)",\n', re.MULTILINE)


def guess(lock, npmrc, ask, environment=os.environ):
    """An Addressed, or None where nothing is to be gained or the app itself says where its packages are. `ask` has npm name its registry."""
    if lock.suffix != ".json" or (npmrc.is_file() and REGISTRY_OF_ITS_OWN.search(npmrc.read_text("utf-8", "replace"))):
        return None
    names = {name.lower(): value for name, value in environment.items()}
    if any(name.startswith("npm_config_@") or name == "npm_config_replace_registry_host" for name in names):
        return None
    try:
        content = json.loads(lock.read_text("utf-8-sig"))
    except ValueError:
        return None
    packages = content.get("packages") if isinstance(content, dict) else None
    found = []
    for path, entry in packages.items() if isinstance(packages, dict) else []:
        if not path.rpartition("node_modules/")[1] or not isinstance(entry, dict):
            continue
        version = entry.get("version")
        if not entry.get("integrity") or any(entry.get(name) for name in ("resolved", "link", "inBundle")):
            continue
        if not isinstance(version, str) or not re.fullmatch(r"\d[0-9A-Za-z.-]*", version):
            continue
        found.append((entry.get("name") or path.rpartition("node_modules/")[2], version, entry))
    registry = (names.get("npm_config_registry") or ask()).strip().rstrip("/") if found else ""
    if not registry.startswith("http"):
        return None
    for name, version, entry in found:
        entry["resolved"] = f"{registry}/{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
    return Addressed(lock, json.dumps(content, indent=2, ensure_ascii=False) + "\n", {entry["resolved"] for *_named, entry in found})
