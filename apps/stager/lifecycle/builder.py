#!/usr/bin/env python3
"""Stages one app: the buildpack lifecycle as Cloud Foundry's builder runs it.

Runs inside the staging container as user vcap and needs nothing but Python's standard library; PyYAML is used where it is there.
Reads <stage>/plan.json, writes <stage>/result.json and <stage>/droplet.tar.gz, prints to the staging log, and ends with the
exit codes that Cloud Foundry documents (222 to 226, 1 for anything else).
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bill
import droplet
import sources
import structured

DETECT_FAILED = "None of the buildpacks detected a compatible application"
COMPILE_FAILED = "Failed to compile droplet"
RELEASE_FAILED = "Failed to build droplet release"
SUPPLY_FAILED = "Failed to run all supply scripts"
NO_SUPPLY_SCRIPT = "Error: one of the buildpacks chosen to supply dependencies does not support multi-buildpack apps"
FINALIZE_FAILED = "Failed to run finalize script"
MISSING_FINALIZE_WARNING = (
    "Warning: the last buildpack is not compatible with multi-buildpack apps and cannot make use of any dependencies "
    "supplied by the buildpacks specified before it"
)
# The first text found in a message decides, so that a wrapped failure gets the code of its wrapper.
EXIT_CODES = [
    (DETECT_FAILED, 222),
    (COMPILE_FAILED, 223),
    (RELEASE_FAILED, 224),
    (SUPPLY_FAILED, 225),
    (NO_SUPPLY_SCRIPT, 225),
    (FINALIZE_FAILED, 226),
]


class StagingFailed(Exception):
    """Ends staging; the text goes to the log and decides the exit code."""


def say(text):
    print(text, flush=True)


def complain(text):
    print(text, file=sys.stderr, flush=True)


def exit_code(message):
    return next((code for text, code in EXIT_CODES if text in message), 1)


class Buildpack:
    """One buildpack of the plan: `key` as the user or the platform names it, and where its files are."""

    def __init__(self, entry):
        self.key = entry["key"]
        self.name = entry.get("name") or entry["key"]
        self.url = entry.get("url")
        self.folder = Path(entry["path"])
        # What tells the files at an address from others, once they are here.
        self.origin = {}

    def home(self):
        """The folder that holds bin/, which may lie one level down."""
        if (self.folder / "bin").is_dir():
            return self.folder
        inside = [child for child in self.folder.iterdir()] if self.folder.is_dir() else []
        if len(inside) == 1 and (inside[0] / "bin").is_dir():
            return inside[0]
        raise StagingFailed(f"malformed buildpack does not contain a /bin dir: {sources.masked(self.key)}")

    def has(self, script):
        return (self.home() / "bin" / script).exists()

    def run(self, script, *args, capture=False, cwd=None):
        path = self.home() / "bin" / script
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            done = subprocess.run(
                [str(path), *map(str, args)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if capture else None, cwd=cwd, check=False,
            )
        except OSError as error:
            raise StagingFailed(f"fork/exec {path}: {(error.strerror or str(error)).lower()}") from error
        if done.returncode < 0:
            raise StagingFailed(f"signal: {-done.returncode}" if done.returncode != -9 else "signal: killed")
        if done.returncode != 0:
            raise StagingFailed(f"exit status {done.returncode}")
        return done.stdout.decode("utf-8", "replace") if capture else ""


class Builder:
    def __init__(self, plan, tmp):
        self.plan = plan
        self.tmp = tmp
        self.stage = tmp / "stage"
        self.app = tmp / "app"
        self.cache = tmp / "cache"
        self.contents = tmp / "contents"
        self.deps = self.contents / "deps"
        self.profile = self.contents / "profile.d"
        self.buildpacks = [Buildpack(entry) for entry in plan["buildpacks"]]
        self.supplied = self.buildpacks[:-1] if plan["skipDetect"] else []
        self.used = self.buildpacks if plan["skipDetect"] else []
        self.detect_output = ""
        self.dates = droplet.Dates()

    def index(self, position):
        count = len(self.buildpacks) if self.plan["skipDetect"] else 1
        return str(position).zfill(len(str(count)))

    def cache_of(self, buildpack):
        return self.cache / hashlib.md5(buildpack.key.encode()).hexdigest()

    def run(self):
        self.prepare()
        if self.plan["skipDetect"]:
            self.check_supplies()
            self.run_supplies()
            final = self.buildpacks[-1]
        else:
            final = self.detect()
            self.used = [final]
        self.write_result([], [])
        wrapping(COMPILE_FAILED, lambda: self.finalize(final))
        processes, sidecars = self.process_types(final)
        if not processes.get("web"):
            complain("No start command specified by buildpack or via Procfile.")
            complain("App will not start unless a command is provided at runtime.")
        self.close_droplet(processes)
        bill.write(self.contents, self.stage / "bill.json")
        self.dates.settle(self.contents / "app")
        shared = droplet.pack(self.contents, self.stage / "droplet.tar.gz", self.cache / ".members", self.tmp)
        layers = droplet.detach(self.contents, shared, self.tmp / "made")
        self.write_result(processes, sidecars, layers)

    def prepare(self):
        sources.unpack_zip(self.tmp / "package.zip", self.app)
        self.dates = droplet.Dates.of(self.app, self.tmp / "package.zip")
        self.profile.mkdir(parents=True)
        count = len(self.supplied) + 1
        for position in range(count):
            (self.deps / self.index(position)).mkdir(parents=True)
        for buildpack in self.buildpacks:
            if buildpack.url:
                # Only here: what talks to servers takes as long to import as all the rest.
                import addresses

                try:
                    buildpack.origin = addresses.download_buildpack(buildpack.url, buildpack.folder)
                except sources.SourceError as error:
                    raise StagingFailed(str(error)) from error
        wanted = {"final", ".members"} | {self.cache_of(each).name for each in self.supplied}
        for name in wanted:
            (self.cache / name).mkdir(parents=True, exist_ok=True)
        for left in self.cache.iterdir():
            if left.name not in wanted:
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() and not left.is_symlink() else left.unlink()

    def check_supplies(self):
        for buildpack in self.supplied:
            if not wrapping(SUPPLY_FAILED, lambda each=buildpack: each.has("supply")):
                raise StagingFailed(NO_SUPPLY_SCRIPT)

    def run_supplies(self):
        for position, each in enumerate(self.supplied):
            arguments = (self.app, self.cache_of(each), self.deps, self.index(position))
            wrapping(SUPPLY_FAILED, lambda: each.run("supply", *arguments))
        wrapping(SUPPLY_FAILED, self.buildpacks[-1].home)

    def detect(self):
        for buildpack in self.buildpacks:
            try:
                script = buildpack.home() / "bin" / "detect"
                if script.exists() and not os.access(script, os.X_OK):
                    complain("WARNING: buildpack script '/bin/detect' is not executable")
                    continue
                self.detect_output = buildpack.run("detect", self.app, capture=True).rstrip("\r\n")
                return buildpack
            except StagingFailed as error:
                if "malformed" in str(error):
                    complain(str(error))
        raise StagingFailed(DETECT_FAILED)

    def finalize(self, final):
        index = self.index(len(self.supplied))
        cache = self.cache / "final"
        if final.has("finalize"):
            if final.has("supply"):
                wrapping(SUPPLY_FAILED, lambda: final.run("supply", self.app, cache, self.deps, index))
            wrapping(FINALIZE_FAILED, lambda: final.run("finalize", self.app, cache, self.deps, index, self.profile))
            return
        if self.supplied:
            complain(MISSING_FINALIZE_WARNING)
        shutil.rmtree(self.deps / index, ignore_errors=True)
        # Those written for Heroku name what they carry relative to their own folder; Cloud Foundry promises no working directory.
        wrapping(COMPILE_FAILED, lambda: final.run("compile", self.app, cache, cwd=final.home()))

    def process_types(self, final):
        """Later sources win by type; a type keeps its place in the list."""
        processes, sidecars = {}, []
        for position in range(len(self.supplied)):
            supplied = self.launch_file(position)
            if supplied:
                structured.merge_launch(supplied, processes, sidecars)
        launch = self.launch_file(len(self.supplied))
        if launch:
            structured.merge_launch(launch, processes, sidecars)
        else:
            processes.update(wrapping(RELEASE_FAILED, lambda: self.release(final)))
        procfile = self.app / "Procfile"
        if procfile.is_file():
            try:
                processes.update(structured.string_map(procfile.read_text("utf-8", "replace")))
            except structured.Malformed as error:
                raise StagingFailed(f"Failed to read command from Procfile: {error}") from error
        return processes, sidecars

    def launch_file(self, position):
        candidates = [self.deps / self.index(position) / "launch.yml", self.deps / str(position) / "launch.yml"]
        return next((path for path in candidates if path.is_file()), None)

    def release(self, final):
        output = final.run("release", self.app, capture=True)
        try:
            found = structured.load(output)
            types = (found or {}).get("default_process_types") if isinstance(found or {}, dict) else structured.refuse("no map")
            return structured.to_strings(types or {})
        except structured.Malformed as error:
            raise StagingFailed(f"buildpack's release output invalid: {error}") from error

    def metadata(self):
        found = []
        for position, buildpack in enumerate(self.used):
            entry = {"key": buildpack.key, "name": ""}
            config = self.deps / self.index(position) / "config.yml"
            if config.is_file():
                try:
                    loaded = structured.load(config.read_text("utf-8", "replace"))
                except structured.Malformed:
                    loaded = None
                if isinstance(loaded, dict):
                    entry.update({key: str(loaded[key]) for key in ("name", "version") if loaded.get(key) is not None})
                    if isinstance(loaded.get("config"), dict):
                        entry["config"] = loaded["config"]
            if not entry["name"] and not self.plan["skipDetect"]:
                entry["name"] = self.detect_output
            entry["output_metadata"] = self.detect_output
            entry.update(buildpack.origin)
            found.append(entry)
        return found

    def close_droplet(self, processes):
        last = (self.metadata() or [{}])[-1]
        info = {"detected_buildpack": last.get("name", ""), "start_command": processes.get("web", "")}
        if last.get("config"):
            info["config"] = last["config"]
        (self.contents / "staging_info.yml").write_text(json.dumps(info) + "\n")
        for name in ("tmp", "logs"):
            (self.contents / name).mkdir(exist_ok=True)
        os.rename(self.app, self.contents / "app")

    def write_result(self, processes, sidecars, layers=None):
        metadata = self.metadata()
        last = metadata[-1] if metadata else {"key": "", "name": ""}
        result = {
            "lifecycle_type": "buildpack",
            "execution_metadata": "",
            "process_types": dict(processes),
            "processes": [{"type": kind, "command": command} for kind, command in dict(processes).items()],
            "sidecars": sidecars,
            "lifecycle_metadata": {
                "buildpack_key": last["key"],
                "detected_buildpack": last["name"],
                "buildpacks": metadata,
            },
        }
        if layers is not None:
            result["droplet"] = {"layers": layers}
        partial = self.stage / "result.json.new"
        partial.write_text(json.dumps(result))
        partial.rename(self.stage / "result.json")


def wrapping(message, work):
    try:
        return work()
    except StagingFailed as error:
        raise StagingFailed(f"{message}: {error}") from error


def main():
    tmp = Path(os.environ.get("BLOOMERY_STAGING_TMP", "/tmp"))
    os.environ.pop("BLOOMERY_STAGING_TMP", None)
    plan = json.loads((tmp / "stage" / "plan.json").read_text())
    url = structured.database_url(os.environ.get("VCAP_SERVICES", ""))
    if url:
        os.environ["DATABASE_URL"] = url
    try:
        Builder(plan, tmp).run()
    except StagingFailed as error:
        complain(str(error))
        return exit_code(str(error))
    except OSError as error:
        # 28 and 122: no space, over quota. The stager recognises the sentence.
        if error.errno in (28, 122):
            complain("Failed to write the droplet: no space left on device")
        else:
            complain(f"Failed to set up filesystem when generating droplet: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
