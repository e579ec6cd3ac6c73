"""Files from the Maven repository that this machine's Maven is set up for: by its mirrors, which the platform hands on, else by Maven's own model."""
import hashlib
import json
import os
import re
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

from . import commands

WAIT_SECONDS = 60
PROPERTY = re.compile(r"\$\{([^}]+)\}")


class NotFound(Exception):
    """The text is for the user."""


def mirrors():
    """What the platform says about mirrors: a list of {id, url, mirrorOf}."""
    try:
        return json.loads(os.environ.get("MAVEN_MIRRORS", "[]"))
    except ValueError:
        return []


def write_settings(path):
    """A settings.xml with these mirrors, or None where there are none."""
    found = mirrors()
    if not found:
        return None
    entries = "".join(
        f"<mirror><id>{escape(each['id'])}</id><mirrorOf>{escape(each['mirrorOf'])}</mirrorOf><url>{escape(each['url'])}</url></mirror>"
        for each in found
    )
    path.write_text(f"<settings><mirrors>{entries}</mirrors></settings>\n")
    return path


def repository():
    """Address of what stands for the central repository."""
    # One that names it comes before patterns, as with Maven itself.
    for each in sorted(mirrors(), key=lambda each: each["mirrorOf"] != "central"):
        names = [name.strip() for name in each["mirrorOf"].split(",")]
        if "!central" not in names and any(name in ("*", "central", "external:*") for name in names):
            return each["url"].rstrip("/")
    program = commands.find("mvn")
    home = Path(program).resolve().parent.parent if program else None
    for jar in sorted((home / "lib").glob("maven-model-builder*.jar")) if home else []:
        with zipfile.ZipFile(jar) as opened:
            name = next((each for each in opened.namelist() if re.search(r"maven/model/pom-4[.\d]*\.xml$", each)), None)
            found = name and re.search(r"<id>central</id>[\s\S]*?<url>\s*([^<\s]+)", opened.read(name).decode())
            if found:
                return found.group(1).rstrip("/")
    raise NotFound("no Maven repository is known here: neither a mirror is set, nor is Maven installed")


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=WAIT_SECONDS) as response:
            return response.read()
    except (OSError, urllib.error.URLError) as error:
        raise NotFound(f"{url}: {error}") from error


def newest(group, artifact, pattern):
    """The newest release whose version matches."""
    text = fetch(f"{repository()}/{group.replace('.', '/')}/{artifact}/maven-metadata.xml").decode()
    versions = [each for each in re.findall(r"<version>\s*([^<\s]+)", text) if re.fullmatch(pattern, each)]
    if not versions:
        raise NotFound(f"{group}:{artifact} has no version {pattern}")
    return max(versions, key=lambda each: [int(part) for part in re.findall(r"\d+", each)])


def get(cache, group, artifact, version, kind="jar"):
    """The file, from the cache or the repository, after its checksum was found right. (path, sha1)"""
    folder = cache / "maven-files" / group / artifact
    path = folder / f"{artifact}-{version}.{kind}"
    named = folder / f"{path.name}.sha1"
    if path.is_file() and named.is_file() and hashlib.sha1(path.read_bytes()).hexdigest() == named.read_text():
        return path, named.read_text()
    url = f"{repository()}/{group.replace('.', '/')}/{artifact}/{version}/{path.name}"
    body, wanted = fetch(url), fetch(url + ".sha1").decode().split()[0].lower()
    if hashlib.sha1(body).hexdigest() != wanted:
        raise NotFound(f"{path.name} does not have the checksum that its repository names")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    named.write_text(wanted)
    return path, wanted


def with_dependencies(cache, group, artifact, version, leave_out):
    """The jar and all it needs at compile scope but for groups that begin with `leave_out`: a list of (group, artifact, version, path, sha1)."""
    found, waiting = {}, [(group, artifact, version)]
    while waiting:
        at = waiting.pop(0)
        if at[:2] in found:
            continue
        path, digest = get(cache, *at)
        found[at[:2]] = (*at, path, digest)
        model = Model(cache, *at)
        for one in model.dependencies:
            if one.get("scope", "compile") != "compile" or one.get("optional") == "true" or one.get("groupId", "").startswith(leave_out):
                continue
            wanted = one.get("version") or model.managed.get((one["groupId"], one["artifactId"]))
            if not wanted:
                raise NotFound(f"{at[1]} {at[2]} names no version of {one.get('artifactId')}")
            waiting.append((one["groupId"], one["artifactId"], wanted))
    return list(found.values())


class Model:
    """What a project description and those above it say about dependencies."""

    def __init__(self, cache, group, artifact, version):
        text = get(cache, group, artifact, version, kind="pom")[0].read_text("utf-8", "replace")
        text = re.sub(r"<!--[\s\S]*?-->|<(build|profiles|reporting)>[\s\S]*?</\1>", "", text)
        parent = fields(next(iter(re.findall(r"<parent>([\s\S]*?)</parent>", text)), ""), {})
        above = Model(cache, parent["groupId"], parent["artifactId"], parent["version"]) if parent else None
        block = "".join(re.findall(r"<properties>([\s\S]*?)</properties>", text))
        self.properties = {**(above.properties if above else {}), **dict(re.findall(r"<([\w.-]+)>([^<>]*)</\1>", block)), "project.version": version}
        managed = "".join(re.findall(r"<dependencyManagement>([\s\S]*?)</dependencyManagement>", text))
        own = {(each.get("groupId"), each.get("artifactId")): each.get("version") for each in self.entries(managed)}
        self.managed = {**(above.managed if above else {}), **own}
        self.dependencies = self.entries(re.sub(r"<dependencyManagement>[\s\S]*?</dependencyManagement>", "", text))

    def entries(self, text):
        return [fields(body, self.properties) for body in re.findall(r"<dependency>([\s\S]*?)</dependency>", text)]


def fields(body, properties):
    body = re.sub(r"<exclusions>[\s\S]*?</exclusions>", "", body)
    return {name: PROPERTY.sub(lambda match: properties.get(match.group(1), ""), value).strip() for name, value in re.findall(r"<(\w+)>([^<]*)</\1>", body)}
