"""Which Java a program on the path belongs to."""
import re
from pathlib import Path

from bloomery import commands

NOTED = re.compile(r'^JAVA_VERSION="(\d+(?:\.\d+)*)', re.MULTILINE)
PRINTED = re.compile(r'(?:version "|^javac )(\d+(?:\.\d+)*)', re.MULTILINE)


def java_of(program):
    """(home, version) of what `java` or `javac` on the path is of, or (None, None). Its own note is read first: to ask it, a Java would be started."""
    found = commands.find(program)
    if not found:
        return None, None
    home = Path(found).resolve().parent.parent
    note = home / "release"
    match = NOTED.search(note.read_text("utf-8", "replace")) if note.is_file() else None
    match = match or PRINTED.search(commands.output([found, "-version"]) or "")
    return (home, match.group(1)) if match else (None, None)


def line_of(version):
    """17 of 17.0.9, 8 of 1.8.0."""
    return int(version.removeprefix("1.").split(".")[0])
