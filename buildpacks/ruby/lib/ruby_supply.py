"""Finds Ruby and installs the app's gems."""
import hashlib
import os
import platform
import re
import shutil

from bloomery import bom, commands, log, members, runtimes
from gemfile import Gemfile

BUNDLE = "vendor_bundle"
PROFILE = """export GEM_HOME="${{GEM_HOME:-$DEPS_DIR/{index}/gem_home}}"
export GEM_PATH="${{GEM_PATH:-$DEPS_DIR/{index}/gem_home:$DEPS_DIR/{index}/bundler$(printf ':%s' "$DEPS_DIR/{index}/vendor_bundle"/*/*)}}"
export BUNDLE_PATH="$DEPS_DIR/{index}/vendor_bundle"
export BUNDLE_GEMFILE="${{BUNDLE_GEMFILE:-$HOME/{gemfile}}}"
export BUNDLE_WITHOUT="{without}"
export BUNDLE_DEPLOYMENT=true
export BUNDLE_APP_CONFIG="$DEPS_DIR/{index}/bundle_config"
export RAILS_ENV=${{RAILS_ENV:-production}}
export RACK_ENV=${{RACK_ENV:-production}}
export RAILS_SERVE_STATIC_FILES=${{RAILS_SERVE_STATIC_FILES:-enabled}}
export RAILS_LOG_TO_STDOUT=${{RAILS_LOG_TO_STDOUT:-enabled}}
export MALLOC_ARENA_MAX=${{MALLOC_ARENA_MAX:-2}}
"""


def supply(staging):
    staging.banner("Ruby Buildpack")
    staging.write_config("ruby")
    gemfile = Gemfile(staging.build)
    version = find_ruby(staging, gemfile)
    if needs_node(gemfile):
        install_node(staging, gemfile)
    staging.use_supplied()
    if not gemfile.path.is_file():
        return
    check_lock(gemfile)
    without = os.environ.get("BUNDLE_WITHOUT", "development:test")
    set_environment(staging, gemfile, without)
    staging.write_profile("ruby.sh", PROFILE.format(index=staging.index, gemfile=gemfile.path.relative_to(staging.build), without=without))
    install_gems(staging, gemfile, version)
    bom.add(staging, *[bom.library("gem", name, found) for name, found in gemfile.gems().items()])


def find_ruby(staging, gemfile):
    commands.need("ruby", "ruby")
    commands.need("bundle", "bundler")
    match = re.search(r"ruby (\d+\.\d+\.\d+)", commands.output(["ruby", "-v"]) or "")
    wanted, where = gemfile.ruby_range()
    if where:
        log.info(f"{where}: {wanted}")
    found = runtimes.obtain_or_fail(staging, "ruby", wanted or "*", match.group(1) if match else None)
    log.step(f"Installing ruby {found['version']} (the stack's)")
    return f"{found['version']} {platform.machine()} {commands.output(['bundle', '-v'])}"


def needs_node(gemfile):
    named = {"execjs", "webpacker", "jsbundling-rails", "cssbundling-rails"}
    return bool(named & set(gemfile.gems())) or (gemfile.build / "yarn.lock").is_file()


def install_node(staging, gemfile):
    if commands.find("node"):
        return
    found = runtimes.obtain_or_fail(staging, "node", "22.x")
    log.step(f"Installing node {found['version']}")
    target = staging.provide(found, "node", shared=True)
    staging.link(target / "bin" / "node", "node")
    if (gemfile.build / "yarn.lock").is_file():
        yarn = runtimes.obtain_or_fail(staging, "yarn", "1.x")
        log.step(f"Installing yarn {yarn['version']}")
        staging.link(staging.provide(yarn, "yarn", shared=True) / "bin" / "yarn.js", "yarn")


def check_lock(gemfile):
    if not gemfile.lock:
        log.fail(f"{gemfile.lock_path.name} is missing: run bundle install, and push it with the app")
    if gemfile.is_windows_lock():
        log.warning(f"{gemfile.lock_path.name} was made on Windows and is removed; run bundle lock --add-platform x86_64-linux for repeatable builds")
        gemfile.lock_path.unlink()
        os.environ["BUNDLE_FROZEN"] = "false"


def set_environment(staging, gemfile, without):
    # What the app's own .bundle/config says of paths is meant for another machine.
    config = staging.own / "bundle_config"
    config.mkdir(parents=True, exist_ok=True)
    values = {
        "BUNDLE_GEMFILE": str(gemfile.path),
        "BUNDLE_PATH": str(staging.own / BUNDLE),
        "BUNDLE_WITHOUT": without,
        "BUNDLE_APP_CONFIG": str(config),
        "BUNDLE_USER_HOME": str(staging.cache / "bundle"),
        "BUNDLE_JOBS": str(os.cpu_count() or 2),
        "BUNDLE_RETRY": "3",
        "GEM_HOME": str(staging.own / "gem_home"),
    }
    if gemfile.lock_path.is_file():
        values["BUNDLE_DEPLOYMENT"] = "true"
    os.environ.update(values)
    for name, value in (("RAILS_ENV", "production"), ("RACK_ENV", "production"), ("RAILS_SERVE_STATIC_FILES", "enabled"), ("RAILS_LOG_TO_STDOUT", "enabled")):
        os.environ.setdefault(name, value)


def install_gems(staging, gemfile, version):
    cached = sorted((staging.build / "vendor" / "cache").glob("*.gem"))
    key = None
    if gemfile.lock_path.is_file() and not gemfile.is_local():
        total = hashlib.sha256(f"1 {version} {staging.index} {os.environ['BUNDLE_WITHOUT']}\n".encode())
        for path in (gemfile.path, gemfile.lock_path, *cached):
            total.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
        key = total.hexdigest()
    folder = staging.own / BUNDLE
    whose = members.restore(staging, f"./deps/{staging.index}/{BUNDLE}", folder, key) if key else None
    if whose:
        log.step(f"Dependencies are unchanged: gems restored from {whose}")
        return
    line = ["bundle", "install"] + (["--local"] if cached else [])
    log.step(f"Installing dependencies: {' '.join(line)} (without {os.environ['BUNDLE_WITHOUT'].replace(':', ', ')})")
    status, text = commands.run(line, staging.build)
    if status != 0:
        log.fail(f"bundle install failed with exit status {status}; its output above says why." + advice(text, cached))
    tidy(folder)
    if key and folder.is_dir():
        members.mark(folder, key)


def advice(text, cached):
    if cached and re.search(r"Could not find (gem )?", text):
        return "\nvendor/cache lacks gems of the lock: run bundle cache --all --all-platforms and push again."
    if re.search(r"Could not (reach host|find gem|fetch specs)|Network error|Temporary failure|Net::|SSL", text):
        return "\nThe gem index could not be reached or lacks a gem. Push the gems with the app (bundle cache), or have the operator set a mirror (bundle config mirror…)."
    if re.search(r"Your Ruby version is", text):
        return "\nChange the ruby line of the Gemfile to what is available, e.g. ruby '~> 3.1'."
    if re.search(r"Gem::Ext::BuildError|extconf\.rb failed", text):
        return "\nA gem with native code could not be compiled; the lines above name what it lacks."
    return ""


def tidy(folder):
    """What only tells how the gems came here, and when."""
    for pattern in ("**/gem_make.out", "**/mkmf.log", "*/*/cache/*.gem", "*/*/extensions/**/*.log"):
        for path in folder.glob(pattern):
            path.unlink()
    for path in folder.glob("*/*/doc"):
        shutil.rmtree(path)
