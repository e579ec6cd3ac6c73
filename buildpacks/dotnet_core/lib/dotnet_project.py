"""What kind of .NET app lies in a folder, and which versions it wants."""
import configparser
import json
import os
import re

from bloomery import log, yaml_file

DEFAULT_SDK = "8.0.x"
PROJECTS = ("*.csproj", "*.fsproj", "*.vbproj")


class Project:
    """`kind`: source, framework (published, needs a runtime) or self-contained (published with it)."""

    def __init__(self, build, environment=os.environ):
        self.build = build
        self.environment = environment
        self.config_path = next(iter(sorted(build.glob("*.runtimeconfig.json"))), None)
        self.options = self.read_options()
        self.path = None
        if self.config_path is None:
            self.kind, self.path = "source", self.main_project()
            return
        self.name = self.config_path.name.removesuffix(".runtimeconfig.json")
        runtime = read_json(self.config_path).get("runtimeOptions", {})
        self.frameworks = runtime.get("frameworks") or ([runtime["framework"]] if "framework" in runtime else [])
        self.kind = "framework" if self.frameworks else "self-contained"

    def read_options(self):
        path = self.build / "buildpack.yml"
        found = yaml_file.read_map(path).get("dotnet-core") if path.is_file() else None
        return found if isinstance(found, dict) else {}

    def main_project(self):
        """By .deployment, else the only one, else the one in the root."""
        deployment = self.build / ".deployment"
        if deployment.is_file():
            parser = configparser.ConfigParser()
            try:
                parser.read_string(deployment.read_text("utf-8", "replace"))
                named = parser.get("config", "project", fallback="")
            except configparser.Error as error:
                log.fail(f".deployment is not valid: {error}")
            if not (self.build / named).is_file():
                log.fail(f".deployment names {named or 'no project'}, which was not pushed")
            return self.build / named
        found = sorted(path for pattern in PROJECTS for path in self.build.rglob(pattern))
        root = [path for path in found if path.parent == self.build]
        if len(root) == 1 or len(found) == 1:
            return (root or found)[0]
        log.fail("several projects were found: name the one to start in the file .deployment ([config], project = src/app/app.csproj)")

    def sdk_range(self):
        """(range, where it stands)"""
        if self.options.get("sdk"):
            return str(self.options["sdk"]), "dotnet-core.sdk in buildpack.yml"
        path = self.build / "global.json"
        if path.is_file():
            sdk = read_json(path).get("sdk", {})
            if sdk.get("version"):
                return roll_forward(str(sdk["version"]), str(sdk.get("rollForward", "latestPatch"))), "global.json"
        match = re.search(r"<TargetFrameworks?>\s*net(?:coreapp)?(\d+\.\d+)", self.path.read_text("utf-8", "replace"))
        if match:
            return f"{match.group(1)}.x", f"TargetFramework in {self.path.name}"
        return DEFAULT_SDK, None

    def runtime_range(self):
        """(dependency, range) for a published app: its own version's line, newest patch."""
        names = {str(each.get("name")): str(each.get("version")) for each in self.frameworks}
        for name, dependency in (("Microsoft.AspNetCore.App", "dotnet-aspnetcore"), ("Microsoft.NETCore.App", "dotnet-runtime")):
            if name in names:
                return dependency, ".".join(names[name].split(".")[:2]) + ".x"
        log.fail(f"{self.config_path.name} names no framework that is known: {', '.join(names) or 'none'}")

    def program(self):
        """The published program, where there is one; its mode may have been lost on the way."""
        path = self.build / self.name
        return path if path.is_file() else None


def roll_forward(version, policy):
    major, minor, rest = (version.split(".") + ["0", "0"])[:3]
    feature = rest[:1] if rest[:1].isdigit() else "0"
    return {
        "disable": version, "patch": version,
        "latestPatch": f">={version} <{major}.{minor}.{int(feature) + 1}00",
        "feature": f">={version} <{major}.{int(minor) + 1}.0", "latestFeature": f">={version} <{major}.{int(minor) + 1}.0",
        "minor": f">={version} <{int(major) + 1}.0.0", "latestMinor": f">={version} <{int(major) + 1}.0.0",
        "major": f">={version}", "latestMajor": f">={version}",
    }.get(policy, version)


def read_json(path):
    """Comments and commas too many are allowed in these files."""
    text = re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*[\s\S]*?\*/', lambda match: match.group(1) or "", path.read_text("utf-8-sig", "replace"))
    try:
        found = json.loads(re.sub(r",(\s*[}\]])", r"\1", text))
    except ValueError as error:
        log.fail(f"{path.name} is not valid JSON: {error}")
    return found if isinstance(found, dict) else {}
