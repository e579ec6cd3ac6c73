"""Makes a Python of the app's own and installs its packages."""
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys

import locked
import python_version
from bloomery import bom, commands, log, members, runtimes

PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]*\])?\s*==\s*[A-Za-z0-9.!+_-]+(\s*;[^#]*?)?(\s+--hash=\S+)*(\s*#.*)?$")
PROFILE = """export PYTHONUNBUFFERED=1
export PYTHONHASHSEED=random
export LANG=${LANG:-en_US.UTF-8}
export VIRTUAL_ENV="$DEPS_DIR/{index}"
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$HOME"
"""


def supply(staging):
    staging.banner("Python Buildpack")
    staging.write_config("python")
    version = platform.python_version()
    text, where = python_version.wanted(staging.build)
    if text:
        log.info(f"{where}: {text}")
        python_version.check(text, where, version)
    else:
        log.info(f"no version named in runtime.txt or .python-version: using {version}")
    if (staging.build / "environment.yml").is_file() and not (staging.build / "requirements.txt").is_file():
        log.fail("environment.yml needs conda, which this buildpack does not offer; list the packages in requirements.txt")
    runtimes.obtain_or_fail(staging, "python", f"{'.'.join(version.split('.')[:2])}.x", version)
    log.step(f"Installing python {version}")
    make_environment(staging)
    staging.write_environment("PYTHONUNBUFFERED", "1")
    staging.write_profile("python.sh", PROFILE.replace("{index}", staging.index))
    staging.use_supplied()
    os.environ["VIRTUAL_ENV"] = str(staging.own)
    # What is compiled must not depend on the order of sets.
    os.environ["PYTHONHASHSEED"] = "0"
    install_packages(staging, version)
    relocate_scripts(staging)
    list_packages(staging)
    download_corpora(staging)
    collect_static(staging)
    relocate_sources(staging)


def make_environment(staging):
    """The stack's interpreter with packages of the app's own; its paths follow the droplet wherever it lies."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(staging.own)], check=True)
    for left in staging.own.glob("bin/[Aa]ctivate*"):
        left.unlink()
    config = staging.own / "pyvenv.cfg"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("command")]
    config.write_text("\n".join(kept) + "\n")


def install_packages(staging, version):
    build = staging.build
    path = build / "requirements.txt"
    if path.is_file():
        text = path.read_text("utf-8", "replace").replace("\\\n", " ")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
        install(staging, path, text, "requirements.txt", bool(lines) and all(PINNED.match(line) for line in lines), version)
        return
    found = locked.find(build)
    if found:
        made = staging.cache / "requirements-from-lock.txt"
        made.write_text("\n".join(found.lines) + "\n")
        install(staging, made, made.read_text(), found.name, found.pinned, version)
        install_project(staging, ("--no-deps",))
        return
    if (build / "Pipfile").is_file():
        log.fail("Pipfile has no Pipfile.lock beside it; run pipenv lock and push again")
    if (build / "pyproject.toml").is_file():
        if not needs_install(build, whole=True):
            log.fail(
                "pyproject.toml names neither [project] nor a lock beside it (uv.lock, poetry.lock): push the lock (uv lock, poetry lock), "
                "or a requirements.txt"
            )
        log.warning("pyproject.toml has no lock beside it: other versions may be installed with each push")
        log.step("Installing the app itself (pyproject.toml)")
        install_app(staging)
    elif (build / "setup.py").is_file():
        log.step("Installing the app itself (setup.py)")
        install_app(staging)


def needs_install(build, whole):
    """Whether the app is a package that has to be installed: for its scripts, its src folder, or its dependencies (`whole`)."""
    project = locked.read_toml(build / "pyproject.toml") if (build / "pyproject.toml").is_file() else {}
    tool = project.get("tool", {})
    if tool.get("uv", {}).get("package") is False or tool.get("poetry", {}).get("package-mode") is False:
        return False
    if whole:
        return "project" in project or "poetry" in tool
    scripts = project.get("project", {}).get("scripts") or tool.get("poetry", {}).get("scripts")
    return "build-system" in project and bool(scripts or (build / "src").is_dir())


def install_project(staging, options):
    if needs_install(staging.build, whole=False):
        log.step("Installing the app itself (pyproject.toml)")
        install_app(staging, *options)


def install_app(staging, *options):
    pip(staging, *options, str(staging.build))
    # The app's folder comes before its packages: what was compiled for the app has to lie there, too.
    for path in sorted((staging.own / "lib").glob("python3*/site-packages/*.dist-info/direct_url.json")):
        if json.loads(path.read_text()).get("url") == staging.build.as_uri():
            for name in (line.split(",")[0] for line in path.with_name("RECORD").read_text().splitlines()):
                target = staging.build / name
                if name.endswith(".so") and target.parent.is_dir():
                    shutil.copy2(path.parent.parent / name, target)
    compile_all(staging)


def install(staging, requirements, text, name, pinned, version):
    vendor = staging.build / "vendor"
    key = None
    # With an app that is installed beside its packages, their folder is not theirs alone.
    if pinned and not vendor.is_dir() and not (name != "requirements.txt" and needs_install(staging.build, whole=False)):
        settings = [f"{each}={os.environ[each]}" for each in sorted(os.environ) if each.startswith(("PIP_", "BP_PIP", "CFLAGS", "LDFLAGS"))]
        key = hashlib.sha256("\n".join(["2", version, platform.machine(), str(staging.index), *settings, text]).encode()).hexdigest()
    packages = staging.own / "lib"
    scripts = staging.own / "bin"
    whose = members.restore(staging, f"./deps/{staging.index}/lib", packages, key) if key else None
    if whose:
        kept = packages / ".bloomery-scripts"
        for script in kept.iterdir() if kept.is_dir() else []:
            shutil.copy2(script, scripts / script.name)
        log.step(f"Dependencies are unchanged: packages restored from {whose}")
        return
    log.step(f"Installing packages ({name})")
    own = {path.name for path in scripts.iterdir()}
    offline = ["--no-index", "--find-links", str(vendor)] if vendor.is_dir() else []
    pip(staging, *offline, "-r", str(requirements))
    compile_all(staging)
    if key:
        kept = packages / ".bloomery-scripts"
        kept.mkdir(exist_ok=True)
        for script in scripts.iterdir():
            if script.name not in own and script.is_file():
                shutil.copy2(script, kept / script.name)
        members.mark(packages, key)


def pip_program(staging):
    """The stack's pip, or the one that BP_PIP_VERSION asks for."""
    wanted = os.environ.get("BP_PIP_VERSION", "").strip()
    if not wanted:
        return {}
    target = staging.cache / "pip-tool"
    named = "pip" if wanted == "latest" else f"pip=={wanted}"
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", target, "--disable-pip-version-check", named]
    commands.run(line, staging.build, fail=f"{named} (BP_PIP_VERSION) could not be installed; its output above says why")
    return {"PYTHONPATH": str(target)}


def pip(staging, *arguments):
    environment = pip_program(staging)
    line = [sys.executable, "-m", "pip", "--python", staging.own / "bin" / "python3", "install", "--no-compile"]
    line += ["--cache-dir", staging.cache / "pip", "--no-warn-script-location", "--disable-pip-version-check", "--progress-bar", "off"]
    status, text = commands.run([*line, *arguments], staging.build, environment=environment)
    if status != 0:
        log.fail("pip could not install the app's packages; its output above says why" + advice(text))


def advice(text):
    if re.search(r"THESE PACKAGES DO NOT MATCH THE HASHES", text):
        return "\nThe index gave another file than the lock names: lock again, or see that the mirror is whole."
    if re.search(r"Requires-Python|requires a different Python|Ignored the following versions that require a different python", text):
        return f"\nA package does not support Python {platform.python_version()}; choose a version of it that does."
    if "Retry(total=0," in text:
        return "\nThe package index could not be reached. Push the packages with the app (pip download -d vendor -r requirements.txt), or have the operator configure an index."
    if re.search(r"No matching distribution found|Could not find a version", text):
        return "\nSee the name and version above. Push the packages with the app (pip download -d vendor -r requirements.txt), or have the operator configure an index."
    if re.search(r"(Connection|Read)Timeout|NewConnectionError|Max retries exceeded", text):
        return "\nThe package index could not be reached. Push the packages with the app (pip download -d vendor -r requirements.txt), or have the operator configure a mirror."
    if re.search(r"error: command '.*(gcc|cc|g\+\+)'|metadata-generation-failed|subprocess-exited-with-error", text):
        return "\nA package had to be compiled and could not be; the lines above name what it lacks."
    return ""


def compile_all(staging):
    """Compiled when first imported otherwise, at each start. By content, not by date: the same input gives the same bytes."""
    line = [staging.own / "bin" / "python3", "-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash"]
    line += ["-s", staging.own, "-p", f"/home/vcap/deps/{staging.index}", staging.own / "lib"]
    # Files for other versions of Python are part of some packages; that they cannot be compiled matters to nobody.
    commands.run(line, staging.build, quiet=True)


def relocate_scripts(staging):
    """Console scripts name the interpreter by its path in staging; at launch it lies elsewhere."""
    for folder in (staging.own / "bin", staging.own / "lib" / ".bloomery-scripts"):
        for script in folder.iterdir() if folder.is_dir() else []:
            if script.is_symlink() or not script.is_file():
                continue
            content = script.read_bytes()
            first, _, rest = content.partition(b"\n")
            if first.startswith(b"#!") and str(staging.own).encode() in first:
                status = script.stat()
                script.write_bytes(b"#!/usr/bin/env python3\n" + rest)
                # What is restored has the same bytes and the same date: its archive is found again.
                os.utime(script, (status.st_mtime, status.st_mtime))


def relocate_sources(staging):
    """What was installed as it lies (`-e`) is found by its path in staging; at launch it lies elsewhere."""
    for site in (staging.own / "lib").glob("python3*/site-packages"):
        for path in (*site.glob("*.pth"), *site.glob("__editable__*.py"), *site.glob("*.egg-link")):
            text = path.read_text("utf-8", "surrogateescape")
            moved = text.replace(str(staging.own), f"/home/vcap/deps/{staging.index}").replace(str(staging.build), "/home/vcap/app")
            if moved != text:
                path.write_text(moved, "utf-8", "surrogateescape")
        for compiled in site.glob("__pycache__/__editable__*"):
            compiled.unlink()


def list_packages(staging):
    found = []
    for path in (staging.own / "lib").glob("python3*/site-packages/*.dist-info/METADATA"):
        text = path.read_text("utf-8", "replace")
        name = re.search(r"^Name: (.+)$", text, re.MULTILINE)
        version = re.search(r"^Version: (.+)$", text, re.MULTILINE)
        if name and version:
            found.append(bom.library("pypi", locked.normal(name.group(1).strip()), version.group(1).strip()))
    if found:
        bom.add(staging, *found)


def download_corpora(staging):
    """nltk.txt: one corpus a line."""
    path = staging.build / "nltk.txt"
    if not path.is_file() or not any((staging.own / "lib").glob("python3*/site-packages/nltk")):
        return
    names = path.read_text("utf-8", "replace").split()
    target = staging.own / "nltk_data"
    log.step(f"Downloading NLTK packages: {' '.join(names)}")
    line = [staging.own / "bin" / "python3", "-m", "nltk.downloader", "-e", "-d", target, *names]
    commands.run(line, staging.build, fail="the corpora of nltk.txt could not be downloaded; push them with the app instead (NLTK_DATA)")
    staging.write_profile("python_nltk.sh", f'export NLTK_DATA="$DEPS_DIR/{staging.index}/nltk_data"\n')


def collect_static(staging):
    """Django: static files are gathered once, here."""
    manage = next(iter(sorted(staging.build.glob("manage.py")) + sorted(staging.build.glob("*/manage.py"))), None)
    disabled = os.environ.get("DISABLE_COLLECTSTATIC", "") not in ("", "0", "false")
    if not manage or disabled or not any((staging.own / "lib").glob("python3*/site-packages/django")):
        return
    log.step(f"Running python {manage.relative_to(staging.build)} collectstatic --noinput")
    line = [str(staging.own / "bin" / "python3"), str(manage.relative_to(staging.build)), "collectstatic", "--noinput"]
    if subprocess.run(line, cwd=staging.build, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        log.fail("collectstatic failed. Fix it, or set DISABLE_COLLECTSTATIC=1 (cf set-env) to leave it out.")
