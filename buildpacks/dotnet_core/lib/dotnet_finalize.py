"""Publishes source, and names the start command."""
import os
import re
import shutil

from bloomery import bom, commands, log
from dotnet_project import Project, read_json

PROFILE = """export DOTNET_ROOT="$DEPS_DIR/{index}/{root}"
export DOTNET_CLI_TELEMETRY_OPTOUT=1
"""
# .NET Core knows no ICU newer than itself unless it is told of it.
ICU = """for bloomery_icu in /usr/lib/*-linux-gnu/libicuuc.so.*; do
  export CLR_ICU_VERSION_OVERRIDE="${CLR_ICU_VERSION_OVERRIDE:-${bloomery_icu##*.so.}}"
done; unset bloomery_icu
"""
URLS = 'export ASPNETCORE_URLS="${ASPNETCORE_URLS:-http://0.0.0.0:$PORT}"\n'


def finalize(staging):
    staging.use_supplied()
    project = Project(staging.build)
    folder = "$HOME"
    if project.kind == "source":
        publish(staging, project)
        folder = f"$DEPS_DIR/{staging.index}/dotnet_publish"
        project = Project(staging.own / "dotnet_publish")
        root = "dotnet-sdk"
    elif project.kind == "framework":
        root = project.runtime_range()[0]
    program = project.program()
    if program:
        program.chmod(0o755)
        command = f"cd {folder} && exec ./{program.name} --server.urls http://0.0.0.0:$PORT"
    else:
        command = f"cd {folder} && exec dotnet ./{project.name}.dll --server.urls http://0.0.0.0:$PORT"
    if project.kind != "self-contained":
        staging.write_profile("dotnet.sh", PROFILE.format(index=staging.index, root=root))
    if project.kind == "framework" and project.runtime_range()[1].startswith(("2.", "3.")):
        staging.write_profile("dotnet_icu.sh", ICU)
        line = project.runtime_range()[1].removesuffix(".x")
        log.warning(f".NET {line} has no TLS here: it needs OpenSSL 1.1, and the stack has 3. What listens or connects by TLS ends; name a newer line")
    staging.write_profile("dotnet_urls.sh", URLS)
    list_packages(staging, project)
    staging.write_launch({"web": command})
    staging.write_launch_profile()


def publish(staging, project):
    target = staging.own / "dotnet_publish"
    os.environ.update({
        "DOTNET_CLI_TELEMETRY_OPTOUT": "1", "DOTNET_NOLOGO": "1", "DOTNET_SKIP_FIRST_TIME_EXPERIENCE": "1", "NUGET_PACKAGES": str(staging.cache / "nuget"),
        "DOTNET_CLI_HOME": str(staging.cache / "dotnet-home"),
    })
    configuration = os.environ.get("PUBLISH_RELEASE_CONFIG", "Release")
    name = project.path.relative_to(staging.build)
    log.step(f"Running dotnet publish {name}")
    line = ["dotnet", "publish", project.path, "-o", target, "-c", configuration, "-p:Deterministic=true", "-p:ContinuousIntegrationBuild=true"]
    status, text = commands.run(line, staging.build)
    if status != 0:
        log.fail(f"dotnet publish failed with exit status {status}; its output above says why." + advice(text))
    for left in ("bin", "obj"):
        shutil.rmtree(project.path.parent / left, ignore_errors=True)


def advice(text):
    if re.search(r"NU1301|NU1101|Unable to load the service index", text):
        return "\nThe package index could not be reached. Publish on your machine (dotnet publish) and push the result."
    if re.search(r"NETSDK1045", text):
        return "\nThe SDK is older than the target framework: name a newer one in global.json."
    return ""


def list_packages(staging, project):
    deps = project.build / f"{project.name}.deps.json"
    libraries = read_json(deps).get("libraries", {}) if deps.is_file() else {}
    found = []
    for key, entry in libraries.items():
        name, _, version = key.partition("/")
        if isinstance(entry, dict) and entry.get("type") == "package" and version:
            found.append(bom.library("nuget", name, version, [entry["sha512"]] if entry.get("sha512") else []))
    if found:
        bom.add(staging, *found)
