"""Installs Node.js, a package manager and the app's packages."""
import os
from pathlib import Path

import managers
from bloomery import bom, log, runtimes
from node_components import components
from package_json import Package

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
    kind, named = package.manager()
    staging.write_config("nodejs")
    node_version, headers = install_node(staging, package)
    npm_version = install_npm(staging, package, node_version)
    version = npm_version
    if kind != "npm":
        version = install_manager(staging, package, kind, named, node_version)
    staging.write_environment("NODE_HOME", str(staging.own / "node"))
    staging.write_profile("node.sh", PROFILE.format(index=staging.index))
    staging.use_supplied()
    set_defaults()
    give_way(staging.build)
    if not (staging.build / "package.json").is_file():
        return
    warn_about(staging, package)
    runtime = f"node {node_version} {kind} {version} {os.uname().machine}"
    managers.build(staging, package, kind, runtime, headers)
    found = components(package)
    if found:
        bom.add(staging, *found)


def set_defaults():
    for name, value in (("NODE_ENV", "production"), ("NPM_CONFIG_LOGLEVEL", "error"), ("WEB_MEMORY", "512"), ("WEB_CONCURRENCY", "1")):
        os.environ.setdefault(name, value)


def give_way(build, environment=os.environ):
    """npm heeds its variables before the app's own .npmrc; those that only tell how this machine is set up come after it."""
    said = set()
    npmrc = build / ".npmrc"
    for line in npmrc.read_text("utf-8", "replace").splitlines() if npmrc.is_file() else []:
        name, equals, _value = line.partition("=")
        if equals and not line.lstrip().startswith(("#", ";")):
            said.add(name.strip().lower())
    for path, key in ((build / ".yarnrc.yml", "npmRegistryServer:"), (build / ".yarnrc", "registry ")):
        if path.is_file() and any(line.startswith(key) for line in path.read_text("utf-8", "replace").splitlines()):
            said.add("registry")
    for name in environment.get("BLOOMERY_CLIENT_SETTINGS", "").split():
        key = name.lower().removeprefix("npm_config_")
        if key in said or key.replace("_", "-") in said:
            environment.pop(name, None)


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
    source = Path(found["path"]) if "path" in found else target
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


def install_manager(staging, package, kind, named, node_version):
    program = "yarn" if kind.startswith("yarn") else kind
    wanted = named or package.engine(program) or managers.default_version(package, kind, node_version)
    found = runtimes.obtain_or_fail(staging, kind, wanted)
    log.step(f"Installing {program} {found['version']}")
    target = staging.provide(found, kind, package.leaves_runtime_alone())
    if kind == "pnpm":
        staging.link(target / "bin" / ("pnpm.cjs" if (target / "bin" / "pnpm.cjs").is_file() else "pnpm.mjs"), "pnpm")
    else:
        staging.link(target / "bin" / "yarn.js", "yarn")
        staging.link(target / "bin" / "yarn.js", "yarnpkg")
    return found["version"]


def warn_about(staging, package):
    if (staging.build / "node_modules").is_dir():
        log.warning("node_modules was pushed with the app; list it in .cfignore so that it is installed here instead")
    if not package.lock() and package.has_dependencies():
        log.warning("no package-lock.json, yarn.lock or pnpm-lock.yaml: other versions may be installed with each push")
    if "start" not in package.scripts and not (staging.build / "server.js").is_file() and not (staging.build / "Procfile").is_file():
        log.warning('no "start" script in package.json and no server.js: name a start command (Procfile, or cf push -c)')
