"""npm, Yarn 1, Yarn 2 and later, pnpm: how each installs, runs scripts and leaves out what serves development alone."""
import hashlib
import json
import os
import re
import shutil
import subprocess

import npm_addresses
from bloomery import commands, log, members
from package_json import BUILD_SCRIPTS

# Differs from push to push, or belongs to the running of this buildpack.
VOLATILE = ("VCAP_", "CF_INSTANCE_", "BLOOMERY_", "HOSTNAME", "PWD", "OLDPWD", "SHLVL", "_", "MEMORY_LIMIT", "MEMORY_AVAILABLE", "TMPDIR")
# All that an installation reads which runs no script of any package.
READ_BY_MANAGERS = ("BP_", "COREPACK_", "HTTP", "NODE_", "NO_PROXY", "NPM_", "PNPM_", "YARN_")
# What package.json says for people and for the running app; scripts of the installation keep an app from having a key at all.
DESCRIPTIVE = ("author", "bugs", "contributors", "description", "exports", "homepage", "keywords", "license", "main", "private", "repository", "scripts", "type")
ADVICE = (
    (re.compile(r"E404|404 Not Found|ERR_PNPM_FETCH_404|Package not found"), "A package or version does not exist in the registry; see its name above."),
    (re.compile(r"ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET"), "The package registry could not be reached. Push node_modules with the app, or have the operator configure a mirror."),
    (re.compile(r"E401|E403|ENEEDAUTH"), "The registry refuses: credentials belong into .npmrc beside package.json."),
    (re.compile(r"EBADENGINE|Unsupported engine"), "Name another Node: engines.node in package.json."),
    (re.compile(r"FROZEN_LOCKFILE|lockfile would have been modified|OUTDATED_LOCKFILE"), "The lock does not fit package.json: install on your machine and push the new lock."),
    (re.compile(r"heap out of memory|Killed"), "The build needs more memory: cf push -m 2G"),
    (re.compile(r"gyp ERR|node-pre-gyp|make: \*\*\*"), "A package with native code could not be compiled; the lines above name what it lacks."),
)

# What a registry says where a package is not at the address that the lock does not name.
LIES_ELSEWHERE = re.compile(r"\bE4\d\d\b|EINTEGRITY")


def default_version(package, kind, node_version):
    if kind == "yarn":
        return "1.x"
    major = int(node_version.split(".")[0])
    if kind == "yarn-berry":
        return "4.x" if major >= 18 else "3.x"
    lock = package.lock()
    text = lock.read_text("utf-8", "replace")[:200] if lock and lock.name == "pnpm-lock.yaml" else ""
    match = re.search(r"lockfileVersion:\s*'?(\d+)", text)
    line = int(match.group(1)) if match else 9
    return {5: "7.x", 6: "8.x"}.get(line, "10.x" if major >= 18 else "9.x")


def build(staging, package, kind, runtime, headers):
    """Scripts of the build, installation, and what is asked for to be run afterwards."""
    manager = {"npm": Npm, "yarn": Yarn, "yarn-berry": Berry, "pnpm": Pnpm}[kind](staging, package, headers)
    wanted = [name for name in re.split(r"[,\s]+", os.environ.get("BP_NODE_RUN_SCRIPTS", "")) if name]
    missing = [name for name in wanted if name not in package.scripts]
    if missing:
        log.fail(f"BP_NODE_RUN_SCRIPTS names {missing[0]}, which package.json has no script for")
    manager.run_script("heroku-prebuild")
    # What builds needs the tools of development, too; they are taken out again.
    whole = not production() or bool(wanted)
    if package.has_dependencies() or package.lock():
        manager.install_or_restore(runtime, whole)
    manager.run_script("heroku-postbuild")
    for name in wanted:
        manager.run_script(name)
    if wanted and production():
        log.step("Removing development dependencies")
        manager.prune()
    project = os.environ.get("BP_NODE_PROJECT_PATH", "").strip("/")
    if project:
        if not (staging.build / project / "package.json").is_file():
            log.fail(f"BP_NODE_PROJECT_PATH names {project}, which has no package.json")
        staging.write_launch({"web": f"cd {project} && npm start"})
    elif kind == "yarn-berry":
        staging.write_launch({"web": "yarn start"})


def production():
    asked = os.environ.get("NPM_CONFIG_PRODUCTION", "").lower()
    return asked == "true" or (asked != "false" and os.environ.get("NODE_ENV") == "production")


def key_of(staging, package, runtime):
    total = hashlib.sha256(f"3 {runtime}\n".encode())
    # The same lock in two apps is the same packages, whatever their package.json says of authors and start scripts.
    decisive = {name: value for name, value in package.content.items() if name not in DESCRIPTIVE}
    total.update(json.dumps(decisive, sort_keys=True).encode())
    for path in (package.lock(), staging.build / ".npmrc"):
        content = path.read_bytes() if path.is_file() else b""
        total.update(f"{path.name} {len(content)}\n".encode() + content)
    scripts = package.runs_scripts_of_packages()
    for name in sorted(os.environ):
        if not scripts and not name.upper().startswith(READ_BY_MANAGERS):
            continue
        if not name.startswith(VOLATILE) and name not in ("PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "DATABASE_URL"):
            total.update(f"{name}={os.environ[name]}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


class Manager:
    program = ""

    def __init__(self, staging, package, headers):
        self.staging, self.package, self.headers = staging, package, headers
        self.modules = staging.build / "node_modules"

    def install_or_restore(self, runtime, whole):
        pushed = self.modules.is_dir()
        key = key_of(self.staging, self.package, runtime) if self.package.is_reproducible() and not pushed and not whole else None
        whose = members.restore(self.staging, "./app/node_modules", self.modules, key) if key else None
        if whose:
            log.step(f"Dependencies are unchanged: node_modules restored from {whose}")
            return
        self.install(whole)
        if key and self.modules.is_dir() and not self.modules.is_symlink():
            members.mark(self.modules, key)

    def run_script(self, name):
        if name not in self.package.scripts:
            return
        log.step(f"Running {name} ({self.program})")
        status, text = self.call("run", name)
        if status != 0:
            where = "" if name in BUILD_SCRIPTS else " (BP_NODE_RUN_SCRIPTS)"
            log.fail(f"the script {name} of package.json{where} failed with exit status {status}; its output above says why{advice(text)}")

    def environment(self):
        return {}

    def call(self, *arguments):
        return commands.run([self.program, *arguments], self.staging.build, environment=self.environment())

    def call_or_fail(self, *arguments):
        status, text = self.call(*arguments)
        if status != 0:
            log.fail(f"{self.program} {arguments[0]} failed with exit status {status}; its output above says why{advice(text)}")


def advice(text):
    return "".join(f"\n{sentence}" for pattern, sentence in ADVICE if pattern.search(text))


class Npm(Manager):
    program = "npm"

    def options(self):
        line = ["--no-audit", "--no-fund", "--prefer-offline", "--cache", str(self.staging.cache / ".npm")]
        if (self.staging.build / ".npmrc").is_file():
            line += ["--userconfig", str(self.staging.build / ".npmrc")]
        return line

    def environment(self):
        return {"NPM_CONFIG_UPDATE_NOTIFIER": "false", **({"npm_config_nodedir": str(self.headers)} if self.headers else {})}

    def install(self, whole):
        only = ["--include=dev"] if whole else ["--omit=dev"]
        if self.modules.is_dir():
            log.step("Rebuilding and completing the pushed node_modules (npm rebuild, npm install)")
            if any(self.modules.iterdir()):
                self.call_or_fail("rebuild", *self.options())
            self.call_or_fail("install", *only, *self.options())
            return
        lock = self.package.lock()
        log.step(f"Installing node modules ({lock.name if lock else 'package.json'})")
        if lock:
            status, text = self.install_by(lock, only)
            if status == 0:
                return
            if "EUSAGE" not in text:
                log.fail(f"npm ci failed with exit status {status}; its output above says why{advice(text)}")
            log.warning("package.json and package-lock.json do not agree: installing by package.json. Run npm install and push the new lock.")
        self.call_or_fail("install", *only, *self.options())

    def install_by(self, lock, only):
        guessed = npm_addresses.guess(lock, self.staging.build / ".npmrc", self.registry)
        if guessed:
            with guessed:
                status, text = self.call("ci", *only, *self.options())
            if status == 0:
                guessed.forget(self.modules)
            if status == 0 or not LIES_ELSEWHERE.search(text):
                return status, text
            log.info("The registry may have packages at other addresses: it is asked for each one")
        return self.call("ci", *only, *self.options())

    def registry(self):
        """The one that npm takes when nobody has set another."""
        return (commands.output(["npm", "config", "get", "registry"]) or "").rpartition("\n")[2]

    def prune(self):
        self.call_or_fail("prune", "--omit=dev", *self.options())


class Yarn(Manager):
    program = "yarn"

    def environment(self):
        # Yarn 1 knows npm's registry setting under another name only.
        registry = os.environ.get("NPM_CONFIG_REGISTRY") or os.environ.get("npm_config_registry")
        found = {"YARN_REGISTRY": registry, "yarn_registry": registry} if registry else {}
        return {**found, **({"npm_config_nodedir": str(self.headers)} if self.headers else {})}

    def install(self, whole):
        log.step("Installing node modules (yarn.lock)")
        line = ["--pure-lockfile", "--ignore-engines", "--non-interactive", "--no-progress", "--cache-folder", str(self.staging.cache / ".yarn")]
        mirror = self.staging.build / "npm-packages-offline-cache"
        if mirror.is_dir():
            subprocess.run(["yarn", "config", "set", "yarn-offline-mirror", str(mirror)], cwd=self.staging.build, check=True)
            line.append("--offline")
        self.call_or_fail("install", *line, f"--production={'false' if whole else 'true'}")
        # It says when it was installed, and where.
        (self.modules / ".yarn-integrity").unlink(missing_ok=True)

    def prune(self):
        self.install(whole=False)


class Berry(Manager):
    program = "yarn"

    def linker(self):
        path = self.staging.build / ".yarnrc.yml"
        match = re.search(r"^nodeLinker:\s*[\"']?([\w-]+)", path.read_text("utf-8", "replace") if path.is_file() else "", re.MULTILINE)
        return match.group(1) if match else "pnp"

    def environment(self):
        registry = os.environ.get("NPM_CONFIG_REGISTRY")
        found = {
            "YARN_ENABLE_TELEMETRY": "0", "YARN_ENABLE_GLOBAL_CACHE": "false", "YARN_GLOBAL_FOLDER": str(self.staging.cache / "yarn-berry"),
            "YARN_ENABLE_PROGRESS_BARS": "false", "YARN_ENABLE_COLORS": "false", "YARN_ENABLE_INLINE_BUILDS": "true",
        }
        if self.linker() != "pnp":
            # With Plug'n'Play the packages are run from the app's own .yarn/cache.
            found["YARN_CACHE_FOLDER"] = str(self.staging.cache / "yarn-cache")
        if registry:
            found["YARN_NPM_REGISTRY_SERVER"] = registry
            if registry.startswith("http:"):
                found["YARN_UNSAFE_HTTP_WHITELIST"] = "*"
        return found

    def install(self, whole):
        log.step(f"Installing node modules (yarn.lock, {self.linker()})")
        self.call_or_fail("install", *(["--immutable"] if self.package.lock() else ["--no-immutable"]))
        if not whole:
            self.prune()

    def prune(self):
        status, text = self.call("workspaces", "focus", "--all", "--production")
        if status != 0 and re.search(r"Couldn't find a script|Unknown Syntax|command not found", text):
            log.warning("development dependencies stay: this Yarn lacks the plugin workspace-tools (yarn workspaces focus)")
        elif status != 0:
            log.fail(f"yarn workspaces focus failed with exit status {status}; its output above says why")
        (self.modules / ".yarn-state.yml").unlink(missing_ok=True)


class Pnpm(Manager):
    program = "pnpm"

    def environment(self):
        # Copied, not linked: the store is the app's cache and must not change with the droplet.
        return {
            "npm_config_store_dir": str(self.staging.cache / "pnpm"), "npm_config_package_import_method": "copy", "CI": "true",
            "npm_config_update_notifier": "false", "COREPACK_ENABLE_STRICT": "0", "npm_config_manage_package_manager_versions": "false",
            **({"npm_config_nodedir": str(self.headers)} if self.headers else {}),
        }

    def install(self, whole):
        lock = self.package.lock()
        log.step(f"Installing node modules ({lock.name if lock else 'package.json'})")
        frozen = "--frozen-lockfile" if lock and lock.name == "pnpm-lock.yaml" else "--no-frozen-lockfile"
        # Said in either case: by itself it goes by NODE_ENV.
        only = "--prod=false" if whole else "--prod"
        self.call_or_fail("install", frozen, "--prefer-offline", "--reporter=append-only", only)
        self.tidy()

    def prune(self):
        if self.package.has_workspaces():
            shutil.rmtree(self.modules, ignore_errors=True)
            self.install(whole=False)
        else:
            self.call_or_fail("prune", "--prod")
            self.tidy()

    def tidy(self):
        # They say when and where it was installed.
        for name in (".modules.yaml", ".pnpm-workspace-state.json", ".pnpm-workspace-state-v1.json", ".pnpm/lock.yaml"):
            (self.modules / name).unlink(missing_ok=True)
