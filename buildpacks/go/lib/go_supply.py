"""Installs Go, for the time of staging."""
import os
import tempfile
from pathlib import Path

from bloomery import log, runtimes
from go_project import Project


def supply(staging):
    staging.banner("Go Buildpack")
    staging.write_config("go")
    project = Project(staging.build)
    found = install(staging, project)
    keep = os.environ.get("GO_INSTALL_TOOLS_IN_IMAGE", "").lower() == "true"
    if keep:
        root = staging.provide({**found, "droplet": found.get("path")}, "go", shared=True)
    elif found["from"] == "carried":
        # Beside the droplet, which needs the program alone.
        root = staging.unpack(found, Path(tempfile.gettempdir()) / "carried-go")
    else:
        root = found["path"]
    staging.write_environment("GOROOT", str(root))
    staging.write_environment("GOTOOLCHAIN", "local")
    if keep:
        staging.link(root / "bin" / "go", "go")
        staging.link(root / "bin" / "gofmt", "gofmt")
        staging.write_profile("go.sh", f'export GOROOT="$DEPS_DIR/{staging.index}/go"\nexport GOTOOLCHAIN=local\n')


def install(staging, project):
    ranges, where = project.version()
    if where:
        log.info(f"{where}: {ranges[0]}")
    else:
        log.info(f"no version named in GOVERSION or go.mod: using {ranges[0]}")
    for wanted in ranges[:-1]:
        try:
            runtimes.obtain(staging.name, "go", wanted, runtimes.offers(staging, "go"))
        except runtimes.Unavailable:
            continue
        ranges = [wanted]
        break
    found = runtimes.obtain_or_fail(staging, "go", ranges[-1])
    log.step(f"Installing go {found['version']}")
    return found
