"""Which kind of Java app lies in a folder, by the first match."""
import os
import re
import zipfile

from bloomery import yaml_file

SCRIPT = re.compile(rb"^#!.*\b(sh|bash)\b")


class App:
    """`kind`: main, boot, jar, tomcat, dist, maven or gradle."""

    def __init__(self, kind, **found):
        self.kind = kind
        self.main = found.get("main")
        self.path = found.get("path")
        self.boot = found.get("boot")


def find_app(build, environment=os.environ):
    named = option("JAVA_MAIN", environment).get("java_main_class")
    if named:
        return App("main", main=str(named))
    return find_built(build) or find_source(build)


def find_built(build):
    manifest = read_manifest(build / "META-INF" / "MANIFEST.MF")
    if (build / "BOOT-INF").is_dir() and manifest.get("Main-Class"):
        return App("boot", main=manifest["Main-Class"], boot=boot_version(manifest))
    if (build / "WEB-INF").is_dir():
        return App("tomcat", boot=boot_version(manifest))
    archives = sorted(path for path in build.glob("*.[jw]ar") if path.is_file())
    for path in archives:
        inside = manifest_of(path)
        if path.suffix == ".jar" and ("Start-Class" in inside or any(name.startswith("Spring-Boot") for name in inside)):
            return App("jar", path=path, main=inside.get("Main-Class"), boot=boot_version(inside))
    wars = [path for path in archives if path.suffix == ".war"]
    if wars:
        return App("tomcat", path=wars[0], boot=boot_version(manifest_of(wars[0])))
    script = dist_script(build)
    if script:
        return App("dist", path=script, boot=boot_in(script.parent.parent / "lib"))
    if manifest.get("Main-Class"):
        return App("main", main=manifest["Main-Class"])
    for path in archives:
        if manifest_of(path).get("Main-Class"):
            return App("jar", path=path, main=manifest_of(path)["Main-Class"])
    return None


def find_source(build):
    if (build / "pom.xml").is_file():
        return App("maven")
    if (build / "gradlew").is_file() or any((build / name).is_file() for name in ("build.gradle", "build.gradle.kts")):
        return App("gradle")
    return None


def option(name, environment=os.environ):
    """A variable JBP_CONFIG_<name>: YAML or JSON."""
    text = environment.get(f"JBP_CONFIG_{name}", "")
    return (yaml_file.parse_map(text) or {}) if text.strip() else {}


def dist_script(build):
    """bin/<name> beside lib/*.jar, here or one level down."""
    for root in [build, *sorted(path for path in build.iterdir() if path.is_dir() and not path.name.startswith("."))]:
        if not any((root / "lib").glob("*.jar")) or not (root / "bin").is_dir():
            continue
        for path in sorted((root / "bin").iterdir()):
            if path.is_file() and not path.suffix and SCRIPT.match(path.read_bytes()[:200].split(b"\n")[0]):
                return path
    return None


def boot_version(manifest):
    return manifest.get("Spring-Boot-Version") or ("" if "Start-Class" in manifest else None)


def boot_in(folder):
    for path in sorted(folder.glob("spring-boot-[0-9]*.jar")):
        return path.stem.removeprefix("spring-boot-")
    return None


def manifest_of(archive):
    try:
        with zipfile.ZipFile(archive) as opened:
            return parse_manifest(opened.read("META-INF/MANIFEST.MF").decode("utf-8", "replace"))
    except (KeyError, OSError, zipfile.BadZipFile):
        return {}


def read_manifest(path):
    return parse_manifest(path.read_text("utf-8", "replace")) if path.is_file() else {}


def parse_manifest(text):
    """Its main section. A line that begins with a space goes on with the one before."""
    found = {}
    for line in re.sub(r"\r?\n ", "", text.replace("\r\n", "\n")).split("\n\n")[0].splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    return found
