"""Where things are in a staging, by the arguments of supply and finalize."""
import json
import os
import shutil
import subprocess
from pathlib import Path

from . import bom, log

SEARCH_PATHS = {
    "bin": ["PATH"],
    "lib": ["LD_LIBRARY_PATH", "LIBRARY_PATH"],
    "include": ["CPATH"],
    "pkgconfig": ["PKG_CONFIG_PATH"],
}


class Staging:
    """One run of a buildpack. `arguments`: build dir, cache dir, deps dir, index and, for finalize, the droplet's profile.d."""

    def __init__(self, arguments, buildpack):
        self.build = Path(arguments[0])
        self.cache = Path(arguments[1])
        self.deps = Path(arguments[2])
        self.index = arguments[3]
        self.profile = Path(arguments[4]) if len(arguments) > 4 else None
        self.own = self.deps / self.index
        self.buildpack = Path(buildpack)
        package = json.loads((self.buildpack / "package.json").read_text())
        self.version = package["version"]
        # As its manifest is known to the platform, whatever an operator has called the buildpack.
        self.name = package["name"].rpartition("buildpack-")[2]

    def use_supplied(self):
        """Makes what this and other buildpacks supplied usable for what is run from here on."""
        present = sorted(self.deps.iterdir(), reverse=True) if self.deps.is_dir() else []
        for folder, variables in SEARCH_PATHS.items():
            found = [str(each / folder) for each in present if (each / folder).is_dir()]
            for variable in variables:
                joined = [*found, *filter(None, [os.environ.get(variable)])]
                if joined:
                    os.environ[variable] = ":".join(dict.fromkeys(":".join(joined).split(":")))
        for each in present:
            for path in sorted((each / "env").iterdir()) if (each / "env").is_dir() else []:
                os.environ[path.name] = path.read_text()

    def write_environment(self, name, value):
        """For later buildpacks and the rest of this one."""
        (self.own / "env").mkdir(parents=True, exist_ok=True)
        (self.own / "env" / name).write_text(value)
        os.environ[name] = value

    def write_profile(self, name, script):
        """A script that is sourced at each start of the app."""
        (self.own / "profile.d").mkdir(parents=True, exist_ok=True)
        (self.own / "profile.d" / name).write_text(script)

    def provide(self, runtime, name, shared):
        """Puts a runtime into the droplet. `shared`: by a link to the platform's own copy, which nothing in this staging may change."""
        target = self.own / name
        self.own.mkdir(parents=True, exist_ok=True)
        if runtime["from"] == "carried":
            self.unpack(runtime, target)
        elif shared:
            target.symlink_to(runtime["droplet"], target_is_directory=True)
        else:
            subprocess.run(["cp", "-a", "--no-preserve=ownership", runtime["droplet"], str(target)], check=True)
        return target

    def unpack(self, runtime, target):
        """One that the buildpack carries; outside of `own` it serves this staging alone."""
        target.mkdir()
        subprocess.run(["tar", "-xzf", str(runtime["file"][0]), "-C", str(target), "--no-same-owner"], check=True)
        return target

    def link(self, target, name):
        """Puts a program on the path, by a link that stays right when the droplet is moved."""
        folder = self.own / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        at = folder / name
        if at.is_symlink() or at.exists():
            at.unlink()
        at.symlink_to(os.path.relpath(target, folder))

    def write_config(self, name):
        self.own.mkdir(parents=True, exist_ok=True)
        (self.own / "config.yml").write_text(json.dumps({"name": name, "version": self.version, "config": {}}))

    def write_launch(self, processes):
        """Names the commands of process types; takes the place of bin/release."""
        self.own.mkdir(parents=True, exist_ok=True)
        entries = [{"type": kind, "command": command} for kind, command in processes.items()]
        (self.own / "launch.yml").write_text(json.dumps({"processes": entries}))

    def write_launch_profile(self):
        """By the last buildpack: at launch, everything supplied is on the paths, and the buildpacks' own scripts run."""
        indexes = sorted(each.name for each in self.deps.iterdir() if each.is_dir())
        lines = []
        for folder, variables in (("bin", ["PATH"]), ("lib", ["LD_LIBRARY_PATH", "LIBRARY_PATH"])):
            found = [f"$DEPS_DIR/{each}/{folder}" for each in reversed(indexes) if (self.deps / each / folder).is_dir()]
            lines += [f'export {name}={":".join(found)}${{{name}:+:${name}}}' for name in variables if found]
        self.profile.mkdir(parents=True, exist_ok=True)
        (self.profile / "000_multi-supply.sh").write_text("".join(f"{line}\n" for line in lines))
        for each in indexes:
            folder = self.deps / each / "profile.d"
            for script in sorted(folder.iterdir()) if folder.is_dir() else []:
                shutil.copy2(script, self.profile / f"{each}_{script.name}")
        bom.add(self, bom.stack())

    def banner(self, title):
        log.step(f"{title} version {self.version}")
