"""Compiles the app."""
import os
import re
import shutil

from bloomery import bom, commands, log
from go_project import Project

MODULE = re.compile(r"^\s+(dep|mod)\s+(\S+)\s+(\S+)", re.MULTILINE)
PROFILE = 'export PATH="$PATH:$HOME/bin"\n'


def finalize(staging):
    project = Project(staging.build)
    staging.use_supplied()
    binaries = staging.build / "bin"
    set_environment(staging, project, binaries)
    before = set(binaries.iterdir()) if binaries.is_dir() else set()
    folder = staging.build if project.is_module else place_in_gopath(staging, project)
    install(project, folder)
    web = first_program(project, folder)
    made = sorted(set(binaries.iterdir()) - before) if binaries.is_dir() else []
    if not made and not (web and (binaries / web).is_file()):
        log.fail("no program was built: name the main package (cf set-env APP GO_INSTALL_PACKAGE_SPEC ./cmd/server)")
    list_modules(staging, made)
    staging.write_profile("go_app.sh", PROFILE)
    if os.environ.get("GO_SETUP_GOPATH_IN_IMAGE", "").lower() == "true":
        setup_gopath(staging, project)
    staging.write_launch({"web": web or made[0].name})
    staging.write_launch_profile()


def set_environment(staging, project, binaries):
    os.environ["PATH"] = f"{os.environ['GOROOT']}/bin:{os.environ['PATH']}"
    # Kept from push to push: downloaded modules, and what was compiled.
    os.environ["GOPATH"] = str(staging.cache / "go")
    os.environ["GOCACHE"] = str(staging.cache / "go-build")
    os.environ["GOBIN"] = str(binaries)
    flags = os.environ.get("GOFLAGS", "").split()
    if not any(flag.startswith("-mod=") for flag in flags):
        if project.is_module and project.is_vendored:
            flags.append("-mod=vendor")
        elif project.is_module:
            # Without write permission, modules could not be removed with the cache.
            flags.append("-modcacherw")
    os.environ["GOFLAGS"] = " ".join(flags)
    if not project.is_module:
        os.environ["GO111MODULE"] = "off"
    if not commands.find("gcc", "cc"):
        os.environ.setdefault("CGO_ENABLED", "0")


def place_in_gopath(staging, project):
    """The app where its import path says; its vendored packages are found from there."""
    path = project.import_path()
    log.info(f"no go.mod: building as {path} with the vendored packages (GOPATH)")
    root = staging.build.parent / "gopath"
    target = root / "src" / path
    workspace = staging.build / "Godeps" / "_workspace"
    shutil.copytree(staging.build, target, symlinks=True)
    found = [str(root)] + ([str(workspace)] if workspace.is_dir() else [])
    os.environ["GOPATH"] = ":".join(found)
    return target


def install(project, folder):
    # The same input gives the same bytes, wherever it was built.
    line = ["go", "install", "-tags", "cloudfoundry", "-buildmode", "pie", "-trimpath", "-buildvcs=false"]
    flags = project.linker_flags()
    if flags:
        line += ["-ldflags", flags]
    packages = project.packages()
    log.step(f"Running: {' '.join(line[:2])} {' '.join(line[2:])} {' '.join(packages)}")
    status, text = commands.run([*line, *packages], folder)
    if status == 0:
        return
    log.fail(f"go install failed with exit status {status}; its output above says why." + advice(text))


def advice(text):
    if re.search(r"missing go\.sum entry|updates to go\.(mod|sum) needed", text):
        return "\nRun go mod tidy and push go.mod and go.sum."
    if re.search(r"inconsistent vendoring", text):
        return "\nRun go mod vendor and push again."
    if re.search(r"requires go >= |is for go version|toolchain not available", text):
        return "\nName a newer Go: the go line of go.mod, or cf set-env APP GOVERSION go1.26."
    if re.search(r"40[34] |not found: module|reading .*@v/|dial tcp|i/o timeout", text):
        return "\nA module could not be fetched. Push vendored modules (go mod vendor), or have the operator's Go know a proxy that has it (GOPROXY)."
    if re.search(r"no Go files in|is not a main package|is not in std", text):
        return "\nName the main package: cf set-env APP GO_INSTALL_PACKAGE_SPEC ./cmd/server"
    return ""


def first_program(project, folder):
    form = '{{if eq .Name "main"}}{{.Target}}{{end}}'
    listed = commands.output(["go", "list", "-tags", "cloudfoundry", "-f", form, *project.packages()], cwd=folder) or ""
    return next((line.rpartition("/")[2] for line in listed.splitlines() if line.startswith("/")), None)


def list_modules(staging, programs):
    found = {}
    for program in programs:
        for kind, path, version in MODULE.findall(commands.output(["go", "version", "-m", program]) or ""):
            if kind == "dep":
                found[path, version] = bom.library("golang", path, version)
    if found:
        bom.add(staging, *found.values())


def setup_gopath(staging, project):
    path = project.lines.get("module") or project.import_path()
    target = staging.build / ".gopath" / "src" / path
    target.parent.mkdir(parents=True)
    target.symlink_to(os.path.relpath(staging.build, target.parent))
    staging.write_profile("go_path.sh", 'export GOPATH="$HOME/.gopath"\n')
