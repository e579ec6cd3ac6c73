"""What an app says about its Go: version, packages, how its modules come."""
import json
import os
import re
import shlex

from bloomery import log, yaml_file

DEFAULT_GO = "1.26.x"
LINE = re.compile(r"^\s*(go|toolchain|module)\s+(\S+)", re.MULTILINE)


class Project:
    def __init__(self, build, environment=os.environ):
        self.build = build
        self.environment = environment
        path = build / "buildpack.yml"
        found = yaml_file.read_map(path) if path.is_file() else {}
        self.options = found.get("go") if isinstance(found.get("go"), dict) else {}
        module = build / "go.mod"
        self.lines = dict(LINE.findall(module.read_text("utf-8", "replace"))) if module.is_file() else {}
        self.is_module = module.is_file()
        self.is_vendored = (build / "vendor").is_dir()

    def version(self):
        """(ranges to try in order, where it stands)"""
        named = self.environment.get("GOVERSION", "").strip()
        if named:
            return [range_of(named)], "GOVERSION"
        if self.options.get("version"):
            return [range_of(str(self.options["version"]))], "go.version in buildpack.yml"
        toolchain = self.lines.get("toolchain", "")
        if toolchain.startswith("go1"):
            return [range_of(toolchain)], "the toolchain line of go.mod"
        if self.lines.get("go"):
            line = ".".join(self.lines["go"].split(".")[:2])
            # The least version that will do: a newer one builds it as well.
            return [f">={at_least(self.lines['go'])} <{next_line(line)}", f">={at_least(self.lines['go'])} <2.0.0"], "the go line of go.mod"
        godeps = self.godeps().get("GoVersion")
        if godeps:
            return [range_of(godeps)], "Godeps.json"
        return [DEFAULT_GO], None

    def godeps(self):
        path = self.build / "Godeps" / "Godeps.json"
        if not path.is_file():
            return {}
        try:
            return json.loads(path.read_text("utf-8-sig"))
        except ValueError as error:
            log.fail(f"Godeps/Godeps.json is not valid JSON: {error}")

    def import_path(self):
        """Where the app belongs below GOPATH; only what is no module needs to know."""
        if self.environment.get("GOPACKAGENAME"):
            return self.environment["GOPACKAGENAME"].strip("/")
        if self.godeps().get("ImportPath"):
            return self.godeps()["ImportPath"]
        glide = self.build / "glide.yaml"
        if glide.is_file() and yaml_file.read_map(glide).get("package"):
            return str(yaml_file.read_map(glide)["package"])
        log.fail("an app without go.mod needs its import path: set GOPACKAGENAME (cf set-env APP GOPACKAGENAME example.com/app), or add a go.mod (go mod init)")

    def packages(self):
        return shlex.split(self.environment.get("GO_INSTALL_PACKAGE_SPEC", "")) or ["."]

    def linker_flags(self):
        flags = []
        symbol, value = self.environment.get("GO_LINKER_SYMBOL"), self.environment.get("GO_LINKER_VALUE")
        if symbol and value:
            flags += ["-X", f"{symbol}={value}"]
        configured = self.options.get("ldflags")
        for name, text in sorted(configured.items()) if isinstance(configured, dict) else []:
            flags += ["-X", f"{name}={text}"]
        return " ".join(shlex.quote(each) for each in flags)


def range_of(text):
    """go1.22, 1.22, go1.22.3, 1.22.x"""
    found = text.strip().removeprefix("go")
    return f"{found}.x" if re.fullmatch(r"\d+\.\d+", found) else found


def at_least(text):
    parts = (re.match(r"[\d.]+", text) or ["1"])[0].strip(".").split(".")
    return ".".join((parts + ["0", "0"])[:3])


def next_line(line):
    major, minor = (line.split(".") + ["0"])[:2]
    return f"{major}.{int(re.match(r'[0-9]*', minor)[0] or 0) + 1}.0"
