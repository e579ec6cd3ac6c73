"""Restores a folder as the app's last droplet had it, or as another app of the space has installed it.

A buildpack marks a folder with a key of all that its content depends on. While the key is the same, the folder is taken as it was: by a
link where the platform has a droplet's folder mounted, else from the archive of it in the app's own cache.
"""
import json
import shutil
import subprocess

from . import runtimes

MARKER = ".bloomery-key"
LAST = "the last droplet"
WHOSE = {"app": LAST, "space": "another app of this space with the same lock"}


def mark(folder, key):
    (folder / MARKER).write_text(key)


def restore(staging, archive_name, folder, key):
    """`archive_name`: the folder's name in the droplet, e.g. ./app/node_modules. Answers whose it was, for people; None where nothing fits."""
    found = link(staging, archive_name, folder, key)
    if found:
        return found
    return LAST if unpack_member(staging.cache, archive_name, folder, key) else None


def link(staging, archive_name, folder, key):
    """What is mounted cannot be written to, so this is for the buildpack that runs last."""
    plan = runtimes.plan()
    if plan.get("skipDetect") and int(staging.index) != len(plan["buildpacks"]) - 1:
        return None
    layer = next((each for each in plan.get("layers", []) if each["name"] == archive_name and each["key"] == key), None)
    if not layer:
        return None
    if folder.exists():
        shutil.rmtree(folder)
    folder.symlink_to(layer["path"], target_is_directory=True)
    return WHOSE[layer["of"]]


def unpack_member(cache, archive_name, folder, key):
    members = cache.parent / ".members"
    try:
        entry = json.loads((members / "index.json").read_text()).get(archive_name, {})
    except (OSError, ValueError):
        return False
    if entry.get("key") != key or not (members / entry["file"]).is_file():
        return False
    temporary = folder.parent / f".{folder.name}.restored"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    depth = archive_name.count("/")
    try:
        unpack(members / entry["file"], temporary, depth)
        if (temporary / folder.name / MARKER).read_text() != key:
            return False
        if folder.exists():
            shutil.rmtree(folder)
        (temporary / folder.name).rename(folder)
        return True
    except (OSError, subprocess.CalledProcessError):
        return False
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack(member, target, depth):
    tool = "pigz" if shutil.which("pigz") else "gzip"
    # A member is a piece of an archive, without the blocks that end one; tar only remarks on it.
    reader = subprocess.Popen([tool, "-dc", str(member)], stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-p", "-C", str(target), f"--strip-components={depth}"], stdin=reader.stdout, check=True)
    reader.stdout.close()
    if reader.wait() != 0:
        raise subprocess.CalledProcessError(reader.returncode, tool)
