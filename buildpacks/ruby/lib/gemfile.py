"""What Gemfile and Gemfile.lock say."""
import os
import re

from bloomery import log

RUBY_LINE = re.compile(r"^\s*ruby[\s(]+(.+?)\)?\s*(?:#.*)?$", re.MULTILINE)
STRING = re.compile(r"""["']([^"']+)["']""")
LOCKED = re.compile(r"^ {4}([A-Za-z0-9._-]+) \(([^)\s]+)\)$", re.MULTILINE)


class Gemfile:
    def __init__(self, build, environment=os.environ):
        self.path = build / environment.get("BUNDLE_GEMFILE", "Gemfile")
        self.text = self.path.read_text("utf-8", "replace") if self.path.is_file() else ""
        self.lock_path = self.path.parent / ("gems.locked" if self.path.name == "gems.rb" else f"{self.path.name}.lock")
        self.lock = self.lock_path.read_text("utf-8", "replace") if self.lock_path.is_file() else ""
        self.build = build

    def gems(self):
        """{name: version} as locked; a platform's suffix is left out."""
        return {name: version.split("-")[0] for name, version in LOCKED.findall(self.lock)}

    def version_of(self, name):
        found = self.gems().get(name)
        return tuple(int(part) for part in re.findall(r"\d+", found)[:3]) if found else None

    def ruby_range(self):
        """(range, where it stands), or (None, None)."""
        match = RUBY_LINE.search(self.text)
        if match and "file:" not in match.group(1):
            if re.search(r"jruby|truffleruby", match.group(1)):
                log.fail("the Gemfile asks for another engine than MRI (ruby …, engine: …), which this buildpack does not offer")
            named = STRING.findall(match.group(1).split("engine")[0])
            if named:
                return " ".join(range_of(each) for each in named), "ruby in the Gemfile"
        own = self.path.parent / ".ruby-version"
        if match and own.is_file():
            return range_of(own.read_text().strip().removeprefix("ruby-")), ".ruby-version"
        return None, None

    def is_windows_lock(self):
        platforms = re.search(r"^PLATFORMS\n((?: {2}.+\n?)+)", self.lock, re.MULTILINE)
        names = platforms.group(1).split() if platforms else []
        return bool(names) and all(re.search(r"mingw|mswin", name) for name in names)

    def is_local(self):
        """Whether a gem comes from a folder of the app or from a repository: then the lock alone does not say what is installed."""
        return bool(re.search(r"^(PATH|GIT)$", self.lock, re.MULTILINE))


def range_of(text):
    """Ruby's `~> 3.1` goes up to the next major version, `~> 3.1.0` to the next minor one."""
    found = text.strip()
    match = re.fullmatch(r"~>\s*(\d+)\.(\d+)(?:\.(\d+))?", found)
    if match:
        major, minor, patch = match.groups()
        return f">={major}.{minor}.{patch} <{major}.{int(minor) + 1}.0" if patch else f">={major}.{minor}.0 <{int(major) + 1}.0.0"
    return re.sub(r"\s+", "", found)
