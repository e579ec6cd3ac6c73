"""What Java archives hold: each jar by its own pom.properties or manifest, and the jars within a war or a Spring Boot jar."""
import io
import re
import zipfile

from purls import component

POM = re.compile(r"^META-INF/maven/[^/]+/[^/]+/pom\.properties$")
FILE_NAME = re.compile(r"^(?P<name>.+?)-(?P<version>\d[\w.+-]*)\.jar$")
NESTED = re.compile(r"^(BOOT-INF/lib|WEB-INF/lib|lib)/[^/]+\.jar$")
MAX_NESTED_BYTES = 200 << 20


def read(path):
    try:
        with zipfile.ZipFile(path) as archive:
            return found_in(archive, path.name)
    except (OSError, zipfile.BadZipFile, RuntimeError, ValueError):
        return []


def found_in(archive, file_name, nested=False):
    entries = own(archive, file_name)
    if nested:
        return entries
    for info in archive.infolist():
        if NESTED.match(info.filename) and info.file_size <= MAX_NESTED_BYTES:
            try:
                with zipfile.ZipFile(io.BytesIO(archive.read(info))) as inner:
                    entries += found_in(inner, info.filename.rsplit("/", 1)[1], nested=True)
            except (zipfile.BadZipFile, RuntimeError, ValueError):
                continue
    return entries


def own(archive, file_name):
    """A jar that several were merged into names them all."""
    entries = []
    for name in archive.namelist():
        if POM.match(name):
            said = dict(line.split("=", 1) for line in archive.read(name).decode("utf-8", "replace").splitlines() if "=" in line)
            said = {key.strip(): value.strip() for key, value in said.items()}
            if said.get("groupId") and said.get("artifactId") and said.get("version"):
                entries.append(component("maven", f"{said['groupId']}:{said['artifactId']}", said["version"]))
    if entries:
        return entries
    manifest = headers(archive)
    match = FILE_NAME.match(file_name)
    version = (match and match["version"]) or manifest.get("Implementation-Version") or manifest.get("Bundle-Version")
    if not version or not match:
        return []
    group = manifest.get("Implementation-Vendor-Id") or manifest.get("Automatic-Module-Name") or manifest.get("Bundle-SymbolicName", "")
    group = group.split(";")[0].strip()
    return [component("maven", f"{group}:{match['name']}" if group else match["name"], version)]


def headers(archive):
    try:
        text = archive.read("META-INF/MANIFEST.MF").decode("utf-8", "replace")
    except KeyError:
        return {}
    lines = re.sub(r"\r?\n ", "", text).splitlines()
    return dict(line.split(": ", 1) for line in lines if ": " in line)
