"""Builds an app that was pushed as source, and puts what came out in its place."""
import os
import re
import shlex
import shutil
import zipfile
from pathlib import Path

import truststore
from bloomery import commands, log, maven
from java_app import find_built
from java_home import java_of, line_of

# Of the source only what has a meaning at launch stays.
STAYS = ("Procfile", ".profile", ".profile.d", "config")
# A build is over before a better compiler of its code pays off, and a heap that begins at a sixty-fourth of the memory is collected all the time.
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:InitialRAMPercentage=12.5 -XX:-UsePerfData"
STAMP = "-Dproject.build.outputTimestamp=1980-02-01T00:00:00Z"


def build_source(staging, app):
    opts = truststore_options(staging)
    if app.kind == "maven":
        build_with_maven(staging, opts)
        out = newest_archives(staging.build, "target")
    else:
        build_with_gradle(staging, opts)
        out = newest_archives(staging.build, "build/libs") or newest_archives(staging.build, "build/install")
    if not out:
        log.fail("the build made neither a jar with a main class nor a war; name the module that makes one (cf set-env APP BP_MAVEN_BUILT_MODULE web)")
    replace_by(staging, out)
    return find_built(staging.build) or log.fail("what the build made cannot be started: it is no Spring Boot app and names no main class")


def truststore_options(staging):
    path = staging.cache / "truststore.jks"
    truststore.write(path, truststore.system_files())
    return f"-Djavax.net.ssl.trustStore={path} -Djavax.net.ssl.trustStorePassword={truststore.PASSWORD}"


def build_with_maven(staging, opts):
    program = commands.need("mvn", "maven")
    commands.need("javac", "openjdk-17-jdk-headless")
    need_compiler(staging)
    arguments = shlex.split(os.environ.get("BP_MAVEN_BUILD_ARGUMENTS") or os.environ.get("MAVEN_CUSTOM_GOALS") or "-DskipTests package")
    line = [program, "-B", "-ntp", "-q", "-Dstyle.color=never", f"-Dmaven.repo.local={staging.cache / 'm2'}", STAMP]
    settings = staging.build / "settings.xml"
    if not settings.is_file():
        settings = maven.write_settings(staging.cache / "settings.xml")
    if settings:
        line += ["-s", settings]
    module = os.environ.get("BP_MAVEN_BUILT_MODULE")
    if module:
        line += ["-pl", module, "-am"]
    log.step(f"Running mvn {' '.join(arguments)}")
    environment = {"JAVA_HOME": str(Path(commands.find("javac")).resolve().parent.parent), "MAVEN_OPTS": f"{opts} {SHORT_LIVED} {os.environ.get('MAVEN_OPTS', '')}".strip()}
    status, text = commands.run([*line, *arguments], staging.build, environment=environment)
    if status != 0:
        log.fail(f"mvn failed with exit status {status}; its output above says why." + advice(text))


def need_compiler(staging):
    pom = (staging.build / "pom.xml").read_text("utf-8", "replace")
    found = re.search(r"<(java\.version|maven\.compiler\.release|release)>\s*(\d+)\s*<", pom)
    have = java_of("javac")[1] if found else None
    if have and int(found.group(2)) > line_of(have):
        log.fail(
            f"pom.xml asks for Java {found.group(2)} ({found.group(1)}), and the compiler here is of Java {line_of(have)}.\n"
            f"Set it to {line_of(have)} (it runs on newer JREs too), or build on your machine and push the jar: cf push -p target/app.jar"
        )


def advice(text):
    if re.search(r"Could not (find|transfer) artifact|UnknownHost|Connection (refused|timed out)", text):
        return "\nA dependency could not be fetched. See that the repository in pom.xml is reachable from here, or have the operator name a mirror (settings.xml)."
    if "COMPILATION ERROR" in text:
        return "\nThe code does not compile; see the lines above."
    if re.search(r"OutOfMemoryError|exit value 137", text):
        return "\nThe build needs more memory: cf push -m 2G"
    return ""


def build_with_gradle(staging, opts):
    wrapper = staging.build / "gradlew"
    if not wrapper.is_file():
        log.fail("a Gradle app needs its wrapper (gradle wrapper), or push what gradle installDist or bootJar has built")
    wrapper.chmod(0o755)
    arguments = shlex.split(os.environ.get("BP_GRADLE_BUILD_ARGUMENTS") or os.environ.get("GRADLE_TASK") or "build -x test")
    log.step(f"Running ./gradlew {' '.join(arguments)}")
    compiler = commands.need("javac", "openjdk-17-jdk-headless")
    environment = {"JAVA_HOME": str(Path(compiler).resolve().parent.parent), "GRADLE_USER_HOME": str(staging.cache / "gradle"), "GRADLE_OPTS": f"{opts} -Dorg.gradle.daemon=false", "JAVA_OPTS": opts}
    status, text = commands.run([wrapper, "--no-daemon", "--console=plain", *arguments], staging.build, environment=environment)
    if status == 0:
        return
    if re.search(r"Exception in thread \"main\" java\.(net|io|lang)|Downloading http", text) and "BUILD FAILED" not in text:
        log.fail(
            f"the wrapper could not get Gradle itself (exit status {status}): its distributionUrl must be reachable from here.\n"
            "Build on your machine and push the result (cf push -p build/libs/app.jar), or point distributionUrl to a mirror."
        )
    log.fail(f"gradlew failed with exit status {status}; its output above says why." + advice(text))


def newest_archives(build, folder):
    """The one archive to run: of several modules the one named, or the only one that can be started."""
    module = os.environ.get("BP_MAVEN_BUILT_MODULE") or os.environ.get("BP_GRADLE_BUILT_MODULE")
    roots = [build / module] if module else [build, *sorted(path for path in build.iterdir() if path.is_dir())]
    for root in roots:
        at = root / folder
        found = [path for path in sorted(at.glob("*.[jw]ar")) if not re.search(r"(-plain|-sources|-javadoc|-tests|^original-.*)\.jar$", path.name)]
        for path in sorted(found, key=lambda path: -path.stat().st_size):
            if path.suffix == ".war" or is_startable(path):
                return path
    return None


def is_startable(path):
    with zipfile.ZipFile(path) as opened:
        try:
            return b"Main-Class:" in opened.read("META-INF/MANIFEST.MF")
        except KeyError:
            return False


def replace_by(staging, archive):
    log.info(f"the app is {archive.relative_to(staging.build)}")
    kept = staging.build.parent / f".{staging.build.name}-built{archive.suffix}"
    shutil.move(str(archive), str(kept))
    lib = archive.parent / "lib"
    libraries = staging.build.parent / ".lib"
    if lib.is_dir():
        shutil.move(str(lib), str(libraries))
    for path in staging.build.iterdir():
        if path.name in STAYS:
            continue
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    explode(kept, staging.build)
    kept.unlink()
    if libraries.is_dir():
        shutil.move(str(libraries), str(staging.build / "lib"))


def explode(archive, target):
    """Unpacks a jar or war. What is in it has the archive's dates."""
    root = os.path.realpath(target)
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            at = os.path.normpath(os.path.join(root, entry.filename))
            if not at.startswith(root + os.sep):
                continue
            if entry.is_dir():
                os.makedirs(at, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(at), exist_ok=True)
            with opened.open(entry) as source, open(at, "wb") as sink:
                shutil.copyfileobj(source, sink)
            os.utime(at, (315532800, 315532800))
