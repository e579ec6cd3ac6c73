"""What an app says about its PHP: .bp-config/options.json and composer.json."""
import json
import os
import re

from bloomery import log

DEFAULTS = {
    "WEB_SERVER": "httpd",
    "WEBDIR": "htdocs",
    "LIBDIR": "lib",
    "ADMIN_EMAIL": "admin@localhost",
    "PHP_VERSION": None,
    "PHP_EXTENSIONS": ["bz2", "zlib", "curl"],
    "ZEND_EXTENSIONS": [],
    "APP_START_CMD": None,
    "ADDITIONAL_PREPROCESS_CMDS": [],
    "COMPOSER_VENDOR_DIR": None,
    "COMPOSER_INSTALL_OPTIONS": ["--no-interaction", "--no-dev", "--no-progress"],
}
STARTS = ("app.php", "main.php", "run.php", "start.php")


class Options:
    def __init__(self, build, environment=os.environ):
        self.build = build
        self.values = {**DEFAULTS, **read_json(build / ".bp-config" / "options.json")}
        for name in ("COMPOSER_VENDOR_DIR", "COMPOSER_INSTALL_OPTIONS"):
            if environment.get(name):
                self.values[name] = environment[name]
        self.composer_path = build / (environment.get("COMPOSER_PATH") or self.values.get("COMPOSER_PATH") or "") / "composer.json"
        self.composer = read_json(self.composer_path)
        self.lock = read_json(self.composer_path.with_name("composer.lock"))
        self.server = str(self.values["WEB_SERVER"]).lower()
        if self.server not in ("httpd", "nginx", "none"):
            log.fail(f"WEB_SERVER in .bp-config/options.json is {self.values['WEB_SERVER']!r}; it can be httpd, nginx or none")

    def __getitem__(self, name):
        return self.values[name]

    def folder(self, name):
        """A folder of the app by option, e.g. WEBDIR."""
        found = str(self.values[name] or "").strip("/")
        if ".." in found.split("/"):
            log.fail(f"{name} in .bp-config/options.json leads out of the app: {found}")
        return found

    def list(self, name):
        found = self.values.get(name) or []
        return found.split() if isinstance(found, str) else [each if isinstance(each, str) else " ".join(each) for each in found]

    def php_range(self):
        """(range, where it stands)"""
        required = self.composer.get("require")
        named = required.get("php") if isinstance(required, dict) else None
        if named:
            return str(named), "require.php in composer.json"
        wanted = self.values["PHP_VERSION"]
        if wanted:
            match = re.fullmatch(r"\{PHP_(\d)(\d+)_LATEST\}", str(wanted))
            if str(wanted) in ("{PHP_DEFAULT}", "{PHP_LATEST}"):
                return "*", None
            return (f"{match.group(1)}.{match.group(2)}.x" if match else str(wanted)), "PHP_VERSION in .bp-config/options.json"
        return "*", None

    def extensions(self):
        """Those asked for: by options, and by ext-* of the app and of all it needs."""
        found = {*self.list("PHP_EXTENSIONS"), *self.list("ZEND_EXTENSIONS")}
        requirements = [self.composer.get("require")] + [each.get("require") for each in self.lock.get("packages", [])]
        for each in requirements:
            found.update(name[4:] for name in each or {} if name.startswith("ext-"))
        return {each.lower().replace("zend-opcache", "opcache") for each in found}

    def start_command(self):
        if self.values["APP_START_CMD"]:
            return str(self.values["APP_START_CMD"])
        found = next((name for name in STARTS if (self.build / name).is_file()), None)
        if not found:
            log.fail("WEB_SERVER is none, so the app starts by itself: name APP_START_CMD in .bp-config/options.json, or push one of " + ", ".join(STARTS))
        return f"php {found}"


def read_json(path):
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text("utf-8-sig"))
    except ValueError as error:
        log.fail(f"{path.name} is not valid JSON: {error}")
    if not isinstance(found, dict):
        log.fail(f"{path.name} must hold a JSON object")
    return found
