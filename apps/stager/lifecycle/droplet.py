"""Packs the droplet: one tar archive, gzipped in several members that follow one another.

Each large folder (a runtime, installed packages, the app) becomes a gzip member of its own, kept in the app's cache under the
checksum of all that it holds. A push that changes a few files compresses those and copies the rest. Any gzip reader takes the
members for one stream. Names are sorted, owner is vcap, so the same content gives the same bytes.
"""
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

VCAP = 2000
# Below this it is cheaper to compress again than to look for what was compressed before.
MEMBER_BYTES = 1 << 20
CHUNK = 1 << 20
# A buildpack leaves this in a folder that it may restore at the next push; it says what the content depends on.
MARKER = ".bloomery-key"
INDEX = "index.json"
ORDER = ["app", "deps", "profile.d", "tmp", "logs", "staging_info.yml"]
# Folders and links get one date for all: theirs says when they were last copied, and nobody reads it.
COMMON_DATE = 315532800
END_OF_ARCHIVE = b"\0" * 1024


class Entry:
    __slots__ = ("path", "name", "info")

    def __init__(self, path, name, info):
        self.path, self.name, self.info = path, name, info


def pack(contents, output, member_folder, known_folders=()):
    """Writes the archive and returns {sha256, size}. `known_folders`: further folders with members, read only."""
    member_folder.mkdir(parents=True, exist_ok=True)
    digest, size, used, index = hashlib.sha256(), 0, {INDEX}, {}
    with open(output, "wb") as sink:
        parts = list(split(contents))
        for number, entries in enumerate(parts):
            last = number == len(parts) - 1
            member = find_or_make(entries, member_folder, known_folders, last, used)
            try:
                with open(member, "rb") as source:
                    while chunk := source.read(CHUNK):
                        sink.write(chunk)
                        digest.update(chunk)
                        size += len(chunk)
                index[entries[0].name] = {"file": member.name, "key": marker_of(entries[0])}
            finally:
                if member.name.startswith("once-"):
                    member.unlink()
    partial = member_folder / (INDEX + ".new")
    partial.write_text(json.dumps({name: entry for name, entry in index.items() if entry["key"]}))
    partial.rename(member_folder / INDEX)
    for left in member_folder.iterdir():
        if left.name not in used:
            left.unlink()
    return {"sha256": digest.hexdigest(), "size": size}


def split(contents):
    """Lists of entries, in the archive's order. The last one is small and closes the archive."""
    rest = [entry_of(contents, "./")]
    names = sorted(os.listdir(contents), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    for name in names:
        folder = contents / name
        if name == "deps":
            rest.append(entry_of(folder, "./deps"))
            for index in sorted(os.listdir(folder)):
                yield from parts_of(folder / index, f"./deps/{index}", rest)
        elif name == "app":
            yield from parts_of(folder, "./app", rest)
        else:
            rest.extend(tree(folder, f"./{name}"))
    yield rest


def parts_of(folder, name, rest):
    """Each sub-folder that is large stands alone; all else of the folder is one part."""
    if not folder.is_dir() or folder.is_symlink():
        rest.extend(tree(folder, name))
        return
    own = [entry_of(folder, name)]
    for child in sorted(os.listdir(folder)):
        entries = tree(folder / child, f"{name}/{child}")
        if len(entries) > 1 and weight(entries) >= MEMBER_BYTES:
            # The folder itself must come before what lies in it.
            if own:
                yield own
                own = []
            yield entries
        else:
            own.extend(entries)
    if own:
        yield own


def marker_of(entry):
    try:
        with open(os.path.join(entry.path, MARKER), encoding="utf-8") as source:
            return source.read()
    except OSError:
        return None


def date_of(info):
    return int(info.st_mtime) if stat.S_ISREG(info.st_mode) else COMMON_DATE


def weight(entries):
    return sum(entry.info.st_size for entry in entries if stat.S_ISREG(entry.info.st_mode))


def entry_of(path, name):
    return Entry(str(path), name, os.lstat(path))


def tree(path, name):
    entries = [entry_of(path, name)]
    if stat.S_ISDIR(entries[0].info.st_mode):
        for child in sorted(os.listdir(path)):
            entries.extend(tree(os.path.join(path, child), f"{name}/{child}"))
    return [each for each in entries if stat.S_IFMT(each.info.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)]


def find_or_make(entries, folder, known_folders, last, used):
    if last or weight(entries) < MEMBER_BYTES:
        made = folder / "once-part.gz"
        compress(entries, made, END_OF_ARCHIVE if last else b"")
        return made
    name = fingerprint(entries) + ".gz"
    for known in known_folders:
        if (Path(known) / name).is_file():
            return Path(known) / name
    found = folder / name
    if not found.is_file():
        partial = folder / (name + ".new")
        compress(entries, partial, b"")
        partial.rename(found)
    used.add(name)
    return found


def fingerprint(entries):
    """By content, not by time: package managers give all files one date."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        digests = pool.map(content_digest, entries, chunksize=64)
        total = hashlib.sha256(b"1\n")
        for entry, digest in zip(entries, digests):
            info = entry.info
            total.update(f"{entry.name}\0{info.st_mode:o}\0{date_of(info)}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def content_digest(entry):
    mode = entry.info.st_mode
    if stat.S_ISLNK(mode):
        return os.readlink(entry.path)
    if not stat.S_ISREG(mode):
        return ""
    digest = hashlib.sha256()
    with open(entry.path, "rb", buffering=0) as source:
        while chunk := source.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def compress(entries, output, closing):
    tool = ["pigz", "-1", "-n", "-c"] if shutil.which("pigz") else ["gzip", "-1", "-n", "-c"]
    with open(output, "wb") as sink:
        process = subprocess.Popen(tool, stdin=subprocess.PIPE, stdout=sink)
        try:
            for entry in entries:
                write_entry(entry, process.stdin)
            process.stdin.write(closing)
        finally:
            process.stdin.close()
            status = process.wait()
    if status != 0:
        raise OSError(28 if shutil.disk_usage(output).free == 0 else 5, f"{tool[0]} ended with status {status}")


def write_entry(entry, sink):
    info = entry.info
    header = tarfile.TarInfo(entry.name)
    header.mode = stat.S_IMODE(info.st_mode) & 0o777
    header.mtime = date_of(info)
    header.uid = header.gid = VCAP
    header.uname = header.gname = "vcap"
    if stat.S_ISDIR(info.st_mode):
        header.type = tarfile.DIRTYPE
        sink.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        return
    if stat.S_ISLNK(info.st_mode):
        header.type = tarfile.SYMTYPE
        header.linkname = os.readlink(entry.path)
        sink.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
        return
    header.size = info.st_size
    sink.write(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape"))
    left = info.st_size
    with open(entry.path, "rb", buffering=0) as source:
        while left > 0:
            chunk = source.read(min(CHUNK, left))
            if not chunk:
                # Shorter than when it was listed: something still writes. Zeros keep the archive whole.
                chunk = b"\0" * min(CHUNK, left)
            sink.write(chunk)
            left -= len(chunk)
    sink.write(b"\0" * (-info.st_size % 512))
