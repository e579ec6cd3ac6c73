"""What uv.lock, poetry.lock and Pipfile.lock hold, as lines that pip reads: exact versions with checksums.

pip then gets them from the index that this machine is set up for, wherever the lock was made.
"""
import json
import re
import tomllib

from bloomery import log

try:
    from pip._vendor.packaging.markers import InvalidMarker, Marker
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
except ImportError:  # a pip of the future may have moved them
    from packaging.markers import InvalidMarker, Marker
    from packaging.requirements import InvalidRequirement, Requirement


class Locked:
    """`lines` for pip, `pinned` where nothing comes from a repository or a folder."""

    def __init__(self, name, lines, pinned=True):
        self.name, self.lines, self.pinned = name, lines, pinned


def find(build):
    """The first lock that applies, or None."""
    for name, read in (("uv.lock", from_uv), ("poetry.lock", from_poetry), ("Pipfile.lock", from_pipenv)):
        path = build / name
        if path.is_file() and (name == "Pipfile.lock" or (build / "pyproject.toml").is_file()):
            return read(build, path)
    return None


def read_toml(path):
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        log.fail(f"{path.name} is not valid TOML: {error}")


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def applies(marker, extras=()):
    if not marker:
        return True
    try:
        return any(Marker(marker).evaluate({"extra": extra}) for extra in extras or ("",))
    except InvalidMarker:
        return True


def line(name, version, hashes=(), source=None):
    if source:
        return f"{name} @ {source}"
    return " ".join([f"{name}=={version}", *(f"--hash={each}" for each in sorted(set(hashes)))])


def from_uv(build, path):
    packages = read_toml(path).get("package", [])
    by_name = {}
    for each in packages:
        by_name.setdefault(each["name"], []).append(each)
    roots = [each for each in packages if (each.get("source") or {}).get("virtual") == "." or (each.get("source") or {}).get("editable") == "."]
    if not roots:
        log.fail("uv.lock has no entry of the app itself; run uv lock and push again")
    found, waiting = {}, [(root, "") for root in roots]
    seen, pinned = set(), True
    while waiting:
        package, extra = waiting.pop(0)
        if (id(package), extra) in seen:
            continue
        seen.add((id(package), extra))
        if package not in roots:
            source = package.get("source") or {}
            address = "git+" + re.sub(r"\?.*?#|#", "@", source["git"]) if "git" in source else source.get("url")
            if any(key in source for key in ("path", "directory", "editable", "virtual")) and "registry" not in source:
                log.fail(f"uv.lock: {package['name']} comes from the folder {next(iter(source.values()))}; push it as a package of the index, or list it in requirements.txt")
            hashes = [each["hash"] for each in [package.get("sdist") or {}, *package.get("wheels", [])] if each.get("hash")]
            pinned = pinned and not address
            found[package["name"]] = line(package["name"], package.get("version"), hashes, address)
        needs = package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
        for need in needs:
            if not applies(need.get("marker")):
                continue
            candidates = [each for each in by_name.get(need["name"], []) if not need.get("version") or each.get("version") == need["version"]]
            fitting = [each for each in candidates if not each.get("resolution-markers") or any(applies(one) for one in each["resolution-markers"])]
            for each in (fitting or candidates)[:1]:
                waiting.append((each, ""))
                waiting += [(each, name) for name in need.get("extra", [])]
    return Locked(path.name, [found[name] for name in sorted(found)], pinned)


def from_poetry(build, path):
    packages = {}
    for each in read_toml(path).get("package", []):
        if applies(marker_of(each)):
            packages[normal(each["name"])] = each
    if any("groups" in each for each in packages.values()):
        chosen = {name for name, each in packages.items() if "main" in each.get("groups", []) and not each.get("optional")}
    else:
        chosen = reached(packages, main_dependencies(build))
    lines, pinned = [], True
    for name in sorted(chosen):
        each = packages[name]
        source = each.get("source") or {}
        address = None
        if source.get("type") == "git":
            address = f"git+{source['url']}@{source.get('resolved_reference') or source.get('reference')}"
        elif source.get("type") == "url":
            address = source["url"]
        elif source.get("type") in ("directory", "file"):
            log.fail(f"poetry.lock: {each['name']} comes from the folder {source.get('url')}; list it in requirements.txt instead")
        pinned = pinned and not address
        lines.append(line(each["name"], each["version"], [file["hash"] for file in each.get("files", [])], address))
    return Locked(path.name, lines, pinned)


def marker_of(package):
    found = package.get("markers")
    return found.get("main") if isinstance(found, dict) else found


def main_dependencies(build):
    project = read_toml(build / "pyproject.toml")
    named = {normal(name) for name in project.get("tool", {}).get("poetry", {}).get("dependencies", {}) if name != "python"}
    for text in project.get("project", {}).get("dependencies", []):
        try:
            named.add(normal(Requirement(text).name))
        except InvalidRequirement:
            log.fail(f"pyproject.toml: {text!r} is no requirement")
    return named


def reached(packages, names):
    found, waiting = set(), list(names)
    while waiting:
        name = waiting.pop()
        if name in found or name not in packages:
            continue
        found.add(name)
        for need, spec in packages[name].get("dependencies", {}).items():
            each = spec[0] if isinstance(spec, list) else spec
            if not isinstance(each, dict) or (not each.get("optional") and applies(each.get("markers"))):
                waiting.append(normal(need))
    return found


def from_pipenv(build, path):
    try:
        packages = json.loads(path.read_text()).get("default", {})
    except ValueError as error:
        log.fail(f"Pipfile.lock is not valid JSON: {error}")
    lines = []
    for name, entry in sorted(packages.items()):
        if "version" not in entry:
            log.fail(f"Pipfile.lock: {name} comes from a repository or folder; list it in requirements.txt instead")
        extras = f"[{','.join(entry['extras'])}]" if entry.get("extras") else ""
        marker = f" ; {entry['markers']}" if entry.get("markers") else ""
        hashes = "".join(f" --hash={each}" for each in entry.get("hashes", []))
        lines.append(f"{name}{extras}{entry['version']}{marker}{hashes}")
    return Locked(path.name, lines)
