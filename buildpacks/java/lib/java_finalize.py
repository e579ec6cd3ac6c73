"""Makes the app startable: builds it if need be, finds its container, writes the start command."""
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import java_frameworks
import java_tomcat
from bloomery import bom, log
from java_app import find_app, option
from java_build import build_source, explode

TOOLS = ("java_start.py", "java_memory.py", "truststore.py")
# A start that the memory is too small for ends here, with the reason in the log.
PROFILE = """if bloomery_java="$(python3 -B "$DEPS_DIR/{index}/java/java_start.py")"; then
  eval "$bloomery_java"; unset bloomery_java
else
  exit 1
fi
"""
RUN = "exec $JAVA_HOME/bin/java $JAVA_OPTS"


def finalize(staging):
    staging.use_supplied()
    app = find_app(staging.build)
    if app is None:
        log.fail(
            "no app that Java could start was found: push an executable jar or a war (cf push -p target/app.jar), a folder that gradle "
            "installDist has made, or source with a pom.xml"
        )
    if app.kind in ("maven", "gradle"):
        app = build_source(staging, app)
    if app.kind == "jar" and app.boot is not None:
        # Unpacked it starts quicker.
        explode(app.path, staging.build)
        app.path.unlink()
        app = find_app(staging.build)
    command = command_of(staging, app)
    java_frameworks.add(staging, app)
    write_start(staging, app)
    list_libraries(staging)
    staging.write_launch({"web": command, "task": command})
    staging.write_launch_profile()


def command_of(staging, app):
    arguments = str(option("JAVA_MAIN").get("arguments") or "").strip()
    after = f" {arguments}" if arguments else ""
    if app.kind == "boot":
        log.step(f"Spring Boot{' ' + app.boot if app.boot else ''}, started by {app.main}")
        return f"SERVER_PORT=$PORT {RUN} -cp $HOME/. {app.main}{after}"
    if app.kind == "tomcat":
        return java_tomcat.install(staging, app)
    if app.kind == "dist":
        app.path.chmod(0o755)
        log.step(f"Distribution, started by {app.path.relative_to(staging.build)}")
        return f"{'SERVER_PORT=$PORT ' if app.boot is not None else ''}exec $HOME/{app.path.relative_to(staging.build)}{after}"
    if app.kind == "jar":
        log.step(f"Executable jar {app.path.name}")
        return f"{'SERVER_PORT=$PORT ' if app.boot is not None else ''}{RUN} -jar $HOME/{app.path.name}{after}"
    log.step(f"Main class {app.main}")
    jars = [f"$HOME/{path.name}" for path in sorted(staging.build.glob("*.jar"))]
    libraries = ["$HOME/lib/*"] if (staging.build / "lib").is_dir() else []
    return f"{RUN} -cp \"{':'.join(['$HOME/.', *jars, *libraries])}\" {app.main}{after}"


def write_start(staging, app):
    folder = staging.own / "java"
    folder.mkdir(parents=True, exist_ok=True)
    for name in TOOLS:
        shutil.copy2(Path(__file__).parent / name, folder / name)
    jre, opts = option("OPEN_JDK_JRE"), option("JAVA_OPTS")
    calculator = jre.get("memory_calculator") if isinstance(jre.get("memory_calculator"), dict) else {}
    known = {
        "classes": count_classes(staging),
        "calculator": {name: int(calculator[name]) for name in ("stack_threads", "class_count", "headroom") if str(calculator.get(name, "")).isdigit()},
        "memory_calculator": str(os.environ.get("JBP_MEMORY_CALCULATOR", "true")).lower() != "false",
        "java_opts": options_text(opts.get("java_opts")),
        "from_environment": opts.get("from_environment", True) is not False,
    }
    (folder / "java.json").write_text(json.dumps(known, sort_keys=True))
    staging.write_profile("java_start.sh", PROFILE.format(index=staging.index))
    if app.boot is not None:
        # Spring's own profiles stay; this one is Cloud Foundry's.
        staging.write_profile("java_spring.sh", 'export SPRING_PROFILES_INCLUDE="cloud${SPRING_PROFILES_INCLUDE:+,$SPRING_PROFILES_INCLUDE}"\n')


def options_text(found):
    return " ".join(str(each) for each in found) if isinstance(found, list) else str(found or "")


def archives_in(staging):
    for root, folders, names in os.walk(staging.build):
        folders.sort()
        for name in sorted(names):
            if name.endswith((".jar", ".war")):
                yield Path(root) / name


def count_classes(staging):
    total = sum(1 for _, _, names in os.walk(staging.build) for name in names if name.endswith(".class"))
    for path in archives_in(staging):
        try:
            with zipfile.ZipFile(path) as opened:
                total += sum(1 for name in opened.namelist() if name.endswith(".class"))
        except (OSError, zipfile.BadZipFile):
            log.warning(f"{path.relative_to(staging.build)} is no valid archive")
    return total


def list_libraries(staging):
    found = []
    for path in archives_in(staging):
        coordinates = coordinates_of(path)
        if coordinates:
            group, artifact, version = coordinates
            found.append(bom.library("maven", artifact, version, ["sha1:" + sha1_of(path)], group))
    if found:
        bom.add(staging, *found)


def sha1_of(path):
    import hashlib

    return hashlib.sha1(path.read_bytes()).hexdigest()


def coordinates_of(path):
    """(group, artifact, version) as the archive says itself, else by its name."""
    try:
        with zipfile.ZipFile(path) as opened:
            for name in opened.namelist():
                if re.fullmatch(r"META-INF/maven/[^/]+/[^/]+/pom\.properties", name):
                    values = dict(re.findall(r"^(groupId|artifactId|version)=(.*)$", opened.read(name).decode("utf-8", "replace").replace("\r", ""), re.MULTILINE))
                    if len(values) == 3 and path.name.startswith(values["artifactId"]):
                        return values["groupId"], values["artifactId"], values["version"]
    except (OSError, zipfile.BadZipFile):
        return None
    match = re.fullmatch(r"(.+?)-(\d[\w.+-]*)\.[jw]ar", path.name)
    return (GROUPS.get(match.group(1).split("-")[0], match.group(1)), match.group(1), match.group(2)) if match else None


# Of well-known jars that do not say where they belong.
GROUPS = {"spring": "org.springframework", "tomcat": "org.apache.tomcat.embed", "jackson": "com.fasterxml.jackson.core", "snakeyaml": "org.yaml"}
