"""Makes a Python of the app's own and installs its packages."""
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import python_version
from bloomery import log, members

PINNED = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]*\])?\s*==\s*[A-Za-z0-9.!+_-]+(\s*;.*)?(\s*#.*)?$")
PROFILE = """export PYTHONUNBUFFERED=1
export PYTHONHASHSEED=random
export LANG=${LANG:-en_US.UTF-8}
export VIRTUAL_ENV="$DEPS_DIR/{index}"
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
    log.step(f"Installing python {version}")
    make_environment(staging)
    staging.write_environment("PYTHONUNBUFFERED", "1")
    staging.write_profile("python.sh", PROFILE.replace("{index}", staging.index))
    staging.use_supplied()
    os.environ["VIRTUAL_ENV"] = str(staging.own)
    requirements = find_requirements(staging)
    if requirements:
        install(staging, requirements, version)
    elif (staging.build / "setup.py").is_file():
        log.step("Installing the app itself (setup.py)")
        pip(staging, "-e", str(staging.build))
    relocate_scripts(staging)
    collect_static(staging)


def make_environment(staging):
    """The stack's interpreter with packages of the app's own; its paths follow the droplet wherever it lies."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(staging.own)], check=True)
    for left in staging.own.glob("bin/[Aa]ctivate*"):
        left.unlink()
    config = staging.own / "pyvenv.cfg"
    kept = [line for line in config.read_text().splitlines() if not line.startswith("command")]
    config.write_text("\n".join(kept) + "\n")


def find_requirements(staging):
    path = staging.build / "requirements.txt"
    if path.is_file():
        return path
    lock = staging.build / "Pipfile.lock"
    if lock.is_file():
        packages = json.loads(lock.read_text()).get("default", {})
        lines = []
        for name, entry in sorted(packages.items()):
            if "version" not in entry:
                log.fail(f"Pipfile.lock: {name} comes from a repository or folder; list it in requirements.txt instead")
            extras = f"[{','.join(entry['extras'])}]" if entry.get("extras") else ""
            marker = f"; {entry['markers']}" if entry.get("markers") else ""
            lines.append(f"{name}{extras}{entry['version']}{marker}")
        made = staging.cache / "requirements-from-pipfile.txt"
        made.write_text("\n".join(lines) + "\n")
        log.info("using Pipfile.lock")
        return made
    if (staging.build / "Pipfile").is_file():
        log.fail("Pipfile has no Pipfile.lock beside it; run pipenv lock and push again")
    return None


def install(staging, requirements, version):
    text = requirements.read_text("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
    vendor = staging.build / "vendor"
    key = None
    if lines and all(PINNED.match(line) for line in lines) and not vendor.is_dir():
        settings = [f"{name}={os.environ[name]}" for name in sorted(os.environ) if name.startswith(("PIP_", "CFLAGS", "LDFLAGS"))]
        key = hashlib.sha256("\n".join(["1", version, platform.machine(), str(staging.index), *settings, text]).encode()).hexdigest()
    packages = staging.own / "lib"
    scripts = staging.own / "bin"
    if key and members.restore(staging, f"./deps/{staging.index}/lib", packages, key):
        kept = packages / ".bloomery-scripts"
        for script in kept.iterdir() if kept.is_dir() else []:
            shutil.copy2(script, scripts / script.name)
        log.step("Dependencies are unchanged: packages restored from the last droplet")
        return
    log.step(f"Installing packages ({requirements.name if requirements.name == 'requirements.txt' else 'Pipfile.lock'})")
    own = {path.name for path in scripts.iterdir()}
    offline = ["--no-index", "--find-links", str(vendor)] if vendor.is_dir() else []
    pip(staging, *offline, "-r", str(requirements))
    if key:
        kept = packages / ".bloomery-scripts"
        kept.mkdir(exist_ok=True)
        for script in scripts.iterdir():
            if script.name not in own and script.is_file():
                shutil.copy2(script, kept / script.name)
        members.mark(packages, key)


def pip(staging, *arguments):
    line = [sys.executable, "-m", "pip", "--python", str(staging.own / "bin" / "python3"), "install"]
    line += ["--cache-dir", str(staging.cache / "pip"), "--no-warn-script-location", "--disable-pip-version-check", "--progress-bar", "off"]
    # Compiled when first imported otherwise, at each start.
    process = subprocess.Popen(
        [*line, "--compile", *arguments], cwd=staging.build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    for raw in process.stdout:
        text = raw.decode("utf-8", "replace").rstrip()
        if text:
            log.info(text)
    if process.wait() != 0:
        log.fail("pip could not install the app's packages; its output above says why")


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
