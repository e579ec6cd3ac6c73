"""Finds PHP, configures it and installs what Composer lists."""
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
from pathlib import Path

import php_config
from bloomery import bom, commands, log, members, runtimes
from php_options import Options

PROFILE = """export PHPRC="$TMPDIR/php"
export PHP_INI_SCAN_DIR="$TMPDIR/php/php.ini.d"
"""


def supply(staging):
    staging.banner("PHP Buildpack")
    staging.write_config("php")
    options = Options(staging.build)
    version = find_php(staging, options)
    staging.write_profile("php.sh", PROFILE)
    staging.use_supplied()
    php_config.write(staging, options, version)
    if options.composer:
        php_config.use_here(staging)
        composer(staging, options, version)


def find_php(staging, options):
    program = commands.need("php", "php-cli")
    match = re.search(r"^PHP (\d+\.\d+\.\d+)", commands.output([program, "-v"]) or "", re.MULTILINE)
    wanted, where = options.php_range()
    if where:
        log.info(f"{where}: {wanted}")
    found = runtimes.obtain_or_fail(staging, "php", wanted, match.group(1) if match else None)
    log.step(f"Installing PHP {found['version']} (the stack's)")
    staging.link(Path(program).resolve(), "php")
    return found["version"]


def vendor_folder(options, build):
    configured = (options.composer.get("config") or {}).get("vendor-dir")
    if options["COMPOSER_VENDOR_DIR"]:
        return str(options["COMPOSER_VENDOR_DIR"]).replace("{BUILD_DIR}/", "").replace("{LIBDIR}", options.folder("LIBDIR"))
    if configured or (build / "vendor").is_dir():
        return configured or "vendor"
    return f"{options.folder('LIBDIR')}/vendor"


def composer(staging, options, version):
    program = commands.need("composer", "composer")
    build = options.composer_path.parent
    vendor = vendor_folder(options, build)
    folder = build / vendor
    lock = options.composer_path.with_name("composer.lock")
    if not lock.is_file():
        log.warning("no composer.lock: other versions may be installed with each push")
    key = None
    local = any((each.get("dist") or {}).get("type") == "path" for each in options.lock.get("packages", []))
    if lock.is_file() and not folder.is_dir() and not local and not options.composer.get("scripts"):
        text = options.composer_path.read_bytes() + lock.read_bytes()
        arguments = f"1 {version} {platform.machine()} {options.list('COMPOSER_INSTALL_OPTIONS')}\n"
        key = hashlib.sha256(arguments.encode() + text).hexdigest()
        whose = members.restore(staging, f"./app/{folder.relative_to(staging.build)}", folder, key)
        if whose:
            log.step(f"Dependencies are unchanged: packages restored from {whose}")
            list_packages(staging, options)
            return
    os.environ.update({
        "COMPOSER_HOME": str(staging.cache / "composer"),
        "COMPOSER_CACHE_DIR": str(staging.cache / "composer" / "cache"),
        "COMPOSER_VENDOR_DIR": vendor,
        "COMPOSER_BIN_DIR": f"{vendor}/bin",
        "COMPOSER_NO_INTERACTION": "1",
        "COMPOSER_PROCESS_TIMEOUT": "600",
        "COMPOSER_MIRROR_PATH_REPOS": "1",
    })
    write_settings(staging, options)
    if os.environ.get("COMPOSER_GITHUB_OAUTH_TOKEN"):
        subprocess.run(
            [program, "config", "--global", "github-oauth.github.com", os.environ["COMPOSER_GITHUB_OAUTH_TOKEN"]],
            cwd=build, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
        )
    arguments = [part for each in options.list("COMPOSER_INSTALL_OPTIONS") for part in shlex.split(each)]
    log.step(f"Installing dependencies: composer install {' '.join(arguments)}")
    status, text = commands.run(["php", *composers_own(), program, "install", "--no-ansi", *arguments], build)
    if status != 0:
        log.fail(f"composer install failed with exit status {status}; its output above says why." + advice(text))
    if key and folder.is_dir():
        members.mark(folder, key)
    list_packages(staging, options)


def composers_own():
    """What Composer shows its messages with, where the app has not asked for it."""
    if re.search(r"^intl$", commands.output(["php", "-m"]) or "", re.MULTILINE):
        return []
    folder = commands.output(["php", "-r", "echo ini_get('extension_dir');"]) or ""
    return ["-d", "extension=intl"] if Path(folder, "intl.so").is_file() else []


def write_settings(staging, options):
    """Composer's own, beneath the app's: the operator's mirrors, and the loader's class named by the lock instead of by chance."""
    suffix = str(options.lock.get("content-hash") or "") or hashlib.sha256(options.composer_path.read_bytes()).hexdigest()[:32]
    settings = {"config": {"autoloader-suffix": suffix}}
    try:
        mirrors = json.loads(os.environ.get("COMPOSER_REPOSITORIES", "null"))
    except ValueError:
        mirrors = None
    if mirrors:
        settings["repositories"] = mirrors
    folder = staging.cache / "composer"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(settings))


def advice(text):
    if re.search(r"curl error|could not be downloaded|Could not resolve host|failed to open stream", text):
        return "\nA package could not be fetched. Push the vendor folder with the app, or have the operator configure a mirror (composer config --global repositories)."
    if re.search(r"ext-\S+ .*missing|it is missing from your system", text):
        return "\nAn extension is missing here; the lines above name it."
    if "lock file is not up to date" in text or "is not present in the lock file" in text:
        return "\nRun composer update and push the new composer.lock."
    return ""


def list_packages(staging, options):
    found = []
    for each in options.lock.get("packages", []):
        checksum = (each.get("dist") or {}).get("shasum")
        found.append(bom.library("composer", each["name"], str(each["version"]).lstrip("v"), [f"sha1:{checksum}"] if checksum else []))
    if found:
        bom.add(staging, *found)


