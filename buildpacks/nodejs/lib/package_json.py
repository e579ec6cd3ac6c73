"""What package.json and its neighbours say about versions and builds."""
import json
import re

from bloomery import log

DEFAULT_NODE = "22.x"
# npm's own scripts of the app itself: with one of these an installation may depend on any file of the app.
INSTALL_SCRIPTS = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare", "dependencies")
BUILD_SCRIPTS = ("heroku-prebuild", "heroku-postbuild")
GLOBAL_OPTION = re.compile(r"(^|\s)(-\w*g\w*|--global|--location=global)(\s|$)|corepack|npm link|yarn global")
LOCK_FILES = ("npm-shrinkwrap.json", "package-lock.json", "pnpm-lock.yaml", "yarn.lock")
LOCAL = re.compile(r"(^|[\s\"':@])(file:|link:|workspace:|portal:|git[+@:]|ssh:|https?://[^\s\"']*\.git)", re.MULTILINE)


class Package:
    def __init__(self, folder):
        self.folder = folder
        path = folder / "package.json"
        try:
            self.content = json.loads(path.read_text("utf-8-sig")) if path.is_file() else {}
        except ValueError as error:
            log.fail(f"package.json is not valid JSON: {error}")
        if not isinstance(self.content, dict):
            log.fail("package.json must hold a JSON object")

    def _map(self, key):
        found = self.content.get(key)
        return found if isinstance(found, dict) else {}

    @property
    def scripts(self):
        return self._map("scripts")

    def engine(self, name):
        found = self._map("engines").get(name)
        return found.strip() if isinstance(found, str) and found.strip() else None

    def node_range(self):
        """(range, where it stands)"""
        if self.engine("node"):
            return self.engine("node"), "engines.node in package.json"
        nvmrc = self.folder / ".nvmrc"
        if nvmrc.is_file():
            lines = [line.split("#")[0].strip() for line in nvmrc.read_text("utf-8", "replace").splitlines()]
            found = next((line for line in lines if line), None)
            if found:
                return found, ".nvmrc"
        return DEFAULT_NODE, None

    def lock(self):
        return next((self.folder / name for name in LOCK_FILES if (self.folder / name).is_file()), None)

    def manager(self):
        """(npm, yarn, yarn-berry or pnpm; the version that packageManager names, if any)"""
        named, _, version = str(self.content.get("packageManager") or "").partition("@")
        version = version.split("+")[0] or None
        lock = self.lock()
        if named == "pnpm" or (lock and lock.name == "pnpm-lock.yaml" and named != "yarn"):
            return "pnpm", version if named == "pnpm" else None
        if named == "yarn" or (lock and lock.name == "yarn.lock"):
            berry = self.is_berry() or (named == "yarn" and version is not None and not version.startswith("1."))
            return ("yarn-berry" if berry else "yarn"), version if named == "yarn" else None
        if not lock and any((self.folder / name).is_file() for name in ("bun.lock", "bun.lockb")):
            log.warning("bun.lock is not read: Bun is not part of this buildpack. npm installs by package.json alone.")
        return "npm", version if named == "npm" else None

    def is_berry(self):
        lock = self.folder / "yarn.lock"
        return (self.folder / ".yarnrc.yml").is_file() or (lock.is_file() and "__metadata:" in lock.read_text("utf-8", "replace")[:4096])

    def has_workspaces(self):
        return "workspaces" in self.content or (self.folder / "pnpm-workspace.yaml").is_file()

    def leaves_runtime_alone(self):
        """Whether no script of the app installs programs beside Node itself (npm install -g)."""
        return not any(GLOBAL_OPTION.search(str(script)) for script in self.scripts.values())

    def has_dependencies(self):
        return any(self._map(key) for key in ("dependencies", "optionalDependencies", "devDependencies")) or self.has_workspaces()

    def runs_scripts_of_packages(self):
        """Whether installing runs programs of the packages, which may read anything. Only npm's lock tells."""
        lock = self.lock()
        try:
            packages = json.loads(lock.read_text("utf-8-sig")).get("packages") if lock and lock.suffix == ".json" else None
        except ValueError:
            return True
        if not isinstance(packages, dict):
            return True
        return any(not isinstance(entry, dict) or entry.get("hasInstallScript") for entry in packages.values())

    def is_reproducible(self):
        """Whether what is installed follows from lock, configuration and environment alone."""
        if any(name in self.scripts for name in (*INSTALL_SCRIPTS, *BUILD_SCRIPTS)) or self.has_workspaces():
            return False
        lock = self.lock()
        if not lock:
            return False
        if lock.suffix != ".json":
            return not LOCAL.search(lock.read_text("utf-8", "replace")) and not self.is_berry()
        try:
            packages = json.loads(lock.read_text("utf-8-sig")).get("packages")
        except ValueError:
            return False
        if not isinstance(packages, dict):
            return False
        local = ("file:", "link:", "git", "ssh:")
        return not any(
            isinstance(entry, dict) and (entry.get("link") or str(entry.get("resolved", "")).startswith(local))
            for name, entry in packages.items()
            if name
        )
