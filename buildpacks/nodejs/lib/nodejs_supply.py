"""Installs Node.js, npm and the app's packages."""
import hashlib
import os
import subprocess
from pathlib import Path

from bloomery import log, members, runtimes
from package_json import BUILD_SCRIPTS, Package

# Differs from push to push, or belongs to the running of this buildpack.
VOLATILE = ("VCAP_", "CF_INSTANCE_", "BLOOMERY_", "HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_", "MEMORY_LIMIT", "MEMORY_AVAILABLE", "TMPDIR")
PROFILE = """export NODE_HOME="$DEPS_DIR/{index}/node"
export NODE_ENV=${{NODE_ENV:-production}}
export MEMORY_AVAILABLE=$(printf %s "$MEMORY_LIMIT" | tr -dc 0-9)
export WEB_MEMORY=${{WEB_MEMORY:-512}}
export WEB_CONCURRENCY=${{WEB_CONCURRENCY:-1}}
export NODE_PATH="${{NODE_PATH:-$HOME/node_modules}}"
if [ "$OPTIMIZE_MEMORY" = true ] && [ -n "$MEMORY_AVAILABLE" ]; then
  export NODE_OPTIONS="${{NODE_OPTIONS:+$NODE_OPTIONS }}--max_old_space_size=$((MEMORY_AVAILABLE * 75 / 100))"
fi
"""


def supply(staging):
    staging.banner("Nodejs Buildpack")
    package = Package(staging.build)
    package.refuse_other_managers()
    staging.write_config("nodejs")
    node_version, headers = install_node(staging, package)
    npm_version = install_npm(staging, package, node_version)
    if package.uses_yarn():
        install_yarn(staging, package)
    staging.write_environment("NODE_HOME", str(staging.own / "node"))
    staging.write_profile("node.sh", PROFILE.format(index=staging.index))
    staging.use_supplied()
    set_defaults()
    if not (staging.build / "package.json").is_file():
        return
    warn_about(staging, package)
    if package.uses_yarn():
        build_with_yarn(staging, package)
    else:
        build_with_npm(staging, package, f"node {node_version} npm {npm_version} {os.uname().machine}", headers)


def set_defaults():
    for name, value in (("NODE_ENV", "production"), ("NPM_CONFIG_LOGLEVEL", "error"), ("WEB_MEMORY", "512"), ("WEB_CONCURRENCY", "1")):
        os.environ.setdefault(name, value)


def install_node(staging, package):
    wanted, where = package.node_range()
    if where:
        log.info(f"{where}: {wanted}")
    else:
        log.info(f"no version named in package.json (engines.node) or .nvmrc: using {wanted}")
    found = runtimes.obtain_or_fail(staging, "node", wanted)
    log.step(f"Installing node {found['version']}")
    target = staging.provide(found, "node", package.leaves_runtime_alone())
    staging.link(target / "bin" / "node", "node")
    source = Path(found["path"])
    return found["version"], source if (source / "include").is_dir() else None


def default_npm(node_version):
    """The line of npm that came with this line of Node."""
    major = int(node_version.split(".")[0])
    for oldest, wanted in ((24, "11.x"), (18, "10.x"), (14, "8.x"), (10, "6.x")):
        if major >= oldest:
            return wanted
    return "6.x"


def install_npm(staging, package, node_version):
    wanted = package.engine("npm")
    if wanted:
        log.info(f"engines.npm in package.json: {wanted}")
    found = runtimes.obtain_or_fail(staging, "npm", wanted or default_npm(node_version))
    log.step(f"Installing npm {found['version']}")
    target = staging.provide(found, "npm", package.leaves_runtime_alone())
    staging.link(target / "bin" / "npm-cli.js", "npm")
    staging.link(target / "bin" / "npx-cli.js", "npx")
    return found["version"]


def install_yarn(staging, package):
    wanted = package.engine("yarn") or "1.x"
    found = runtimes.obtain_or_fail(staging, "yarn", wanted)
    log.step(f"Installing yarn {found['version']}")
    target = staging.provide(found, "yarn", package.leaves_runtime_alone())
    staging.link(target / "bin" / "yarn.js", "yarn")
    staging.link(target / "bin" / "yarn.js", "yarnpkg")


def warn_about(staging, package):
    if (staging.build / "node_modules").is_dir():
        log.warning("node_modules was pushed with the app; list it in .cfignore so that it is installed here instead")
    if not package.lock() and package.has_dependencies():
        log.warning("no package-lock.json or yarn.lock: other versions may be installed with each push")
    if "start" not in package.scripts and not (staging.build / "server.js").is_file() and not (staging.build / "Procfile").is_file():
        log.warning('no "start" script in package.json and no server.js: name a start command (Procfile, or cf push -c)')


def build_with_npm(staging, package, runtime, headers):
    run_script(staging, package, "heroku-prebuild", ["npm", "run", "heroku-prebuild", "--if-present"])
    modules = staging.build / "node_modules"
    if modules.is_dir():
        log.step("Rebuilding and completing the pushed node_modules (npm rebuild, npm install)")
        if any(modules.iterdir()):
            npm(staging, headers, "rebuild")
        npm(staging, headers, "install", "--omit=dev") if production() else npm(staging, headers, "install")
    elif package.has_dependencies() or package.lock():
        install_packages(staging, package, modules, runtime, headers)
    run_script(staging, package, "heroku-postbuild", ["npm", "run", "heroku-postbuild", "--if-present"])


def install_packages(staging, package, modules, runtime, headers):
    key = installation_key(staging, package, runtime) if package.is_reproducible() else None
    name = "./app/node_modules"
    if key and members.restore(staging, name, modules, key):
        log.step("Dependencies are unchanged: node_modules restored from the last droplet")
        return
    locked = package.lock() is not None
    log.step(f"Installing node modules ({'package-lock.json' if locked else 'package.json'})")
    only = ["--omit=dev"] if production() else []
    if not locked or not npm(staging, headers, "ci", *only, may_fail="EUSAGE"):
        npm(staging, headers, "install", *only)
    if key and modules.is_dir():
        members.mark(modules, key)


def production():
    asked = os.environ.get("NPM_CONFIG_PRODUCTION", "").lower()
    return asked == "true" or (asked != "false" and os.environ.get("NODE_ENV") == "production")


def installation_key(staging, package, runtime):
    total = hashlib.sha256(f"1 {runtime}\n".encode())
    for path in (staging.build / "package.json", package.lock(), staging.build / ".npmrc"):
        content = path.read_bytes() if path.is_file() else b""
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    for name in sorted(os.environ):
        if not name.startswith(VOLATILE) and name not in ("PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "DATABASE_URL"):
            total.update(f"{name}={os.environ[name]}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def npm(staging, headers, command, *arguments, may_fail=None):
    """False where npm refused for the reason that `may_fail` names; ends staging where it failed for another."""
    line = ["npm", command, *arguments, "--no-audit", "--no-fund", "--prefer-offline", "--cache", str(staging.cache / ".npm")]
    if (staging.build / ".npmrc").is_file():
        line += ["--userconfig", str(staging.build / ".npmrc")]
    environment = {**os.environ, "NPM_CONFIG_UPDATE_NOTIFIER": "false", **({"npm_config_nodedir": str(headers)} if headers else {})}
    process = subprocess.Popen(
        line, cwd=staging.build, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    refused = False
    for raw in process.stdout:
        text = raw.decode("utf-8", "replace").rstrip()
        refused = refused or (may_fail is not None and may_fail in text)
        if text:
            log.info(text)
    status = process.wait()
    if status == 0:
        return True
    if refused:
        log.warning("package.json and package-lock.json do not agree: installing by package.json. Run npm install and push the new lock.")
        return False
    log.fail(f"npm {command} failed with exit status {status}; its output above says why")


def build_with_yarn(staging, package):
    run_script(staging, package, "heroku-prebuild", ["yarn", "run", "heroku-prebuild"])
    log.step("Installing node modules (yarn.lock)")
    line = ["yarn", "install", "--pure-lockfile", "--ignore-engines", "--non-interactive", "--cache-folder", str(staging.cache / ".yarn")]
    mirror = staging.build / "npm-packages-offline-cache"
    if mirror.is_dir():
        subprocess.run(["yarn", "config", "set", "yarn-offline-mirror", str(mirror)], cwd=staging.build, check=True)
        line.append("--offline")
    if production():
        line.append("--production")
    # yarn 1 knows npm's registry setting under another name only.
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or os.environ.get("npm_config_registry")
    environment = {**os.environ, **({"YARN_REGISTRY": registry, "yarn_registry": registry} if registry else {})}
    if subprocess.run(line, cwd=staging.build, env=environment, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        log.fail("yarn install failed; its output above says why")
    run_script(staging, package, "heroku-postbuild", ["yarn", "run", "heroku-postbuild"])


def run_script(staging, package, name, line):
    assert name in BUILD_SCRIPTS
    if name not in package.scripts:
        return
    log.step(f"Running {name} ({line[0]})")
    if subprocess.run(line, cwd=staging.build, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        log.fail(f"the script {name} of package.json failed; its output above says why")
