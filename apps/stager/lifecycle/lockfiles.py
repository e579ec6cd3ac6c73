"""Reads lock files of every ecosystem that our buildpacks stage: which packages an app has, in which versions, with which checksums."""
import json
import re

import structured
from purls import component

YARN_HEADER = re.compile(r'^"?((?:@[^/"]+/)?[^@"]+)@')
PINNED = re.compile(r"^\s*([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?\s*===?\s*([^\s;\\#]+)(.*)$")
GEM = re.compile(r"^    (\S+) \(([^)]+)\)$")
REQUIRE = re.compile(r"^\s*([^\s/]+\.[^\s]+)\s+(v\S+)")
PNPM_KEY = re.compile(r"^/?((?:@[^/]+/)?[^@/]+)[@/]([^(_]+)")


def read(path):
    try:
        return READERS[path.name](path.read_text("utf-8", "replace"), path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, structured.Malformed):
        return []


def npm(text, _path):
    lock = json.loads(text)
    entries = []
    for place, each in (lock.get("packages") or {}).items():
        name = each.get("name") or place.rsplit("node_modules/", 1)[-1]
        if place and "node_modules/" in place and each.get("version") and not each.get("dev"):
            entries.append(component("npm", name, each["version"], each.get("integrity")))
    if not entries:
        entries = list(npm_before_7(lock.get("dependencies") or {}))
    return entries


def npm_before_7(dependencies):
    for name, each in dependencies.items():
        if not each.get("dev"):
            yield component("npm", name, each.get("version", ""), each.get("integrity"))
        yield from npm_before_7(each.get("dependencies") or {})


def yarn(text, _path):
    entries, name, version = [], None, None
    for line in text.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            match = YARN_HEADER.match(line)
            name, version = (match.group(1) if match else None), None
        elif name and (said := re.match(r'^  "?version"?:? "?([^"\s]+)"?', line)):
            version = said.group(1)
            if version != "0.0.0-use.local":
                entries.append(component("npm", name, version))
        elif name and version and entries and (said := re.match(r"^  integrity (\S+)", line)):
            entries[-1]["checksum"] = said.group(1)
    return entries


def pnpm(text, _path):
    entries = []
    for key, each in (structured.load(text).get("packages") or {}).items():
        match = PNPM_KEY.match(str(key))
        if match and not (isinstance(each, dict) and each.get("dev")):
            resolution = each.get("resolution") if isinstance(each, dict) else None
            entries.append(component("npm", match.group(1), match.group(2), (resolution or {}).get("integrity")))
    return entries


def requirements(text, _path):
    entries = []
    for line in text.replace("\\\n", " ").splitlines():
        match = PINNED.match(line)
        if match:
            checksum = re.search(r"--hash=(\S+)", match.group(3))
            entries.append(component("pypi", match.group(1), match.group(2), checksum and checksum.group(1)))
    return entries


def pipfile(text, _path):
    entries = []
    for name, each in (json.loads(text).get("default") or {}).items():
        if each.get("version"):
            entries.append(component("pypi", name, each["version"].lstrip("="), next(iter(each.get("hashes") or []), None)))
    return entries


def poetry_or_uv(text, _path):
    try:
        import tomllib
    except ImportError:  # The stack has it; an older Python of a machine without containers may not.
        return []
    entries = []
    for each in tomllib.loads(text).get("package") or []:
        source = each.get("source") or {}
        if not each.get("version") or source.get("virtual") or source.get("editable"):
            continue
        files = each.get("files") or each.get("wheels") or ([each["sdist"]] if each.get("sdist") else [])
        entries.append(component("pypi", each["name"], each["version"], files[0].get("hash") if files else None))
    return entries


def go_mod(text, path):
    """What is required, with the checksum of go.sum beside it."""
    sums = {}
    beside = path.with_name("go.sum")
    if beside.is_file():
        for line in beside.read_text("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) == 3 and not words[1].endswith("/go.mod"):
                sums[(words[0], words[1])] = words[2]
    body = re.sub(r"(?ms)^(replace|exclude|retract)\s*\(.*?^\)", "", text)
    body = re.sub(r"(?m)^(replace|exclude|retract|module|go|toolchain)\s.*$", "", body)
    found = [REQUIRE.match(re.sub(r"^\s*require\s+", "", line)) for line in body.splitlines()]
    return [component("golang", m.group(1), m.group(2), sums.get((m.group(1), m.group(2)))) for m in found if m]


def gemfile(text, _path):
    found, specs = [], False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            specs = False
        elif line == "  specs:":
            specs = True
        elif specs and (match := GEM.match(line)):
            found.append(component("gem", match.group(1), match.group(2)))
    return found


def composer(text, _path):
    entries = []
    for each in json.loads(text).get("packages") or []:
        checksum = (each.get("dist") or {}).get("shasum")
        entries.append(component("composer", each["name"], each["version"].lstrip("v"), f"sha1:{checksum}" if checksum else None))
    return entries


def nuget(text, _path):
    entries = []
    for packages in (json.loads(text).get("dependencies") or {}).values():
        for name, each in packages.items():
            if each.get("resolved"):
                checksum = each.get("contentHash")
                entries.append(component("nuget", name, each["resolved"], f"sha512-{checksum}" if checksum else None))
    return entries


def gradle(text, _path):
    entries = []
    for line in text.splitlines():
        parts = line.split("=", 1)[0].split(":")
        if not line.startswith("#") and len(parts) == 3:
            entries.append(component("maven", f"{parts[0]}:{parts[1]}", parts[2]))
    return entries


def nothing(_text, _path):
    """Told with the one beside it, or with what was built of it; of interest as an input alone."""
    return []


READERS = {
    "package-lock.json": npm,
    "npm-shrinkwrap.json": npm,
    "yarn.lock": yarn,
    "pnpm-lock.yaml": pnpm,
    "requirements.txt": requirements,
    "Pipfile.lock": pipfile,
    "poetry.lock": poetry_or_uv,
    "uv.lock": poetry_or_uv,
    "go.mod": go_mod,
    "go.sum": nothing,
    "Gemfile.lock": gemfile,
    "composer.lock": composer,
    "packages.lock.json": nuget,
    "pom.xml": nothing,
    "gradle.lockfile": gradle,
}
