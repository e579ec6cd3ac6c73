"""Packs the droplet: one tar archive, gzipped in several members that follow one another.

Each large folder (a runtime, installed packages, the app) becomes a gzip member of its own, kept in the app's cache under the
checksum of all that it holds, or under a key where somebody knows what it depends on. A push that changes a few files compresses
those and copies the rest. Any gzip reader takes the members for one stream. Names are sorted and the owner is vcap.

Folders that droplets share (runtimes, packages as they were installed before) are links to where the platform has mounted them.
"""
import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
import subprocess
import tarfile
import time
from pathlib import Path

VCAP = 2000
# Below this it is cheaper to compress again than to look for what was compressed before.
MEMBER_BYTES = 1 << 20
# From here on a folder within a large one is worth a compression of its own.
SUB_MEMBER_BYTES = 4 << 20
# To compress once more what is compressed costs twelve times what it costs to take it as it is, and gains a twentieth.
COMPRESSED = (".jar", ".war", ".zip", ".whl", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".br", ".png", ".jpg", ".jpeg", ".webp", ".mp4", ".woff2")
CHUNK = 1 << 20
# A buildpack leaves this in a folder that it may restore at the next push; it says what the content depends on.
MARKER = ".bloomery-key"
INDEX = "index.json"
ORDER = ["app", "deps", "profile.d", "tmp", "logs", "staging_info.yml"]
# Folders and links get one date for all: theirs says when they were last copied, and nobody reads it. So do installed packages.
COMMON_DATE = 315532800
# How long the platform may take to pack a runtime, beside the staging that is the first to use it.
MEMBER_SECONDS = 60
# The kernel cannot copy between these two: across file systems, or not at all.
COPY_OTHERWISE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
END_OF_ARCHIVE = b"\0" * 1024


class Entry:
    __slots__ = ("path", "name", "info")

    def __init__(self, path, name, info):
        self.path, self.name, self.info = path, name, info


class Dates:
    """Which dates an archive shows, so that the same input gives the same bytes.

    Files of the app keep the dates that they were pushed with: web servers tell versions of a file apart by them. What staging made in the app
    gets one date that follows from all that was pushed, and everything else one for all.
    """

    def __init__(self, pushed=(), made=COMMON_DATE):
        # `pushed`: every date that a pushed file has; `made`: for what staging has written
        self.pushed, self.made = frozenset(pushed), made

    @classmethod
    def of(cls, app, archive):
        """To be asked before a buildpack has written anything."""
        dates = set()
        for folder, _folders, names in os.walk(app):
            infos = [os.lstat(os.path.join(folder, name)) for name in names]
            dates.update(int(info.st_mtime) for info in infos if stat.S_ISREG(info.st_mode))
        digest = hashlib.sha256()
        with open(archive, "rb") as source:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
        # Another one for each push: what staging makes may change where no date of the pushed files does.
        return cls(dates, max(COMMON_DATE, max(dates, default=COMMON_DATE) - int.from_bytes(digest.digest()[:4], "big") % 86400))

    def settle(self, root):
        """Gives what staging has made in the app its date, on disk as in the archive."""
        for folder, folders, names in os.walk(root):
            if MARKER in names:
                folders.clear()
                continue
            for name in names:
                path = os.path.join(folder, name)
                info = os.lstat(path)
                if stat.S_ISREG(info.st_mode) and int(info.st_mtime) not in self.pushed:
                    try:
                        os.utime(path, (self.made, self.made))
                    except OSError:
                        pass  # not ours to date, which a file of another user cannot be either


class Folder:
    """A folder that is shared between droplets: unchanged from push to push, and beneath the rest of the droplet on a cell."""

    __slots__ = ("path", "name", "kind", "source", "key")

    def __init__(self, path, name, kind, source, key):
        # kind: "runtimes" or "layers" (mounted; `source` is the folder's name there), or "made" (new in this staging)
        self.path, self.name, self.kind, self.source, self.key = path, name, kind, source, key


def pack(contents, output, member_folder, mounts):
    """Writes the archive and returns the shared folders in it. `mounts`: the folder that holds runtimes/ and layers/."""
    member_folder.mkdir(parents=True, exist_ok=True)
    used, index, shared = {INDEX}, {}, []
    with open(output, "wb") as sink:
        parts = list(split(contents, mounts))
        for number, part in enumerate(parts):
            if isinstance(part, Folder):
                shared.append(part)
                member = member_of(part, member_folder, mounts, used)
                if part.key:
                    index[part.name] = {"file": member.name, "key": part.key}
            else:
                member = find_or_make(part, member_folder, number == len(parts) - 1, used)
            try:
                append(member, sink)
            finally:
                if member.name.startswith("once-"):
                    member.unlink()
    partial = member_folder / (INDEX + ".new")
    partial.write_text(json.dumps(index))
    partial.rename(member_folder / INDEX)
    for left in member_folder.iterdir():
        if left.name not in used:
            left.unlink()
    return shared


def append(member, sink):
    """In the kernel where it can do that between these files."""
    with open(member, "rb") as source:
        sink.flush()
        try:
            while os.copy_file_range(source.fileno(), sink.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno not in COPY_OTHERWISE:
                raise
            shutil.copyfileobj(source, sink, CHUNK)


def detach(contents, shared, made):
    """Takes the shared folders out of the packed tree; on a cell each is a layer beneath it. New ones go below `made`."""
    layers = []
    for folder in shared:
        at = contents / folder.name
        if folder.kind == "made":
            source = str(len(layers))
            target = made / source / folder.name
            target.parent.mkdir(parents=True)
            os.rename(at, target)
        else:
            source = folder.source
            at.unlink()
        layers.append({"kind": folder.kind, "source": source, "name": folder.name, **({"key": folder.key} if folder.key else {})})
    return layers


def split(contents, mounts):
    """Lists of entries and shared folders, in the archive's order. The last list is small and closes the archive."""
    rest = [entry_of(contents, "./")]
    names = sorted(os.listdir(contents), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    for name in names:
        folder = contents / name
        if name == "deps":
            rest.append(entry_of(folder, "./deps"))
            for index in sorted(os.listdir(folder)):
                yield from parts_of(folder / index, f"./deps/{index}", rest, mounts)
        elif name == "app":
            yield from parts_of(folder, "./app", rest, mounts)
        else:
            rest.extend(tree(folder, f"./{name}"))
    yield rest


def parts_of(folder, name, rest, mounts):
    """Each sub-folder that is shared or large stands alone; all else of the folder is one part."""
    if not folder.is_dir() or folder.is_symlink():
        rest.extend(tree(folder, name))
        return
    own = [entry_of(folder, name)]
    for child in sorted(os.listdir(folder)):
        shared = shared_folder(folder / child, f"{name}/{child}", mounts)
        if shared:
            own.append(Entry(shared.path, shared.name, os.stat(shared.path)))
            yield own
            yield shared
            own = []
            continue
        for part, is_large in by_size(tree(folder / child, f"{name}/{child}"), f"{name}/{child}"):
            if not is_large:
                own.extend(part)
                continue
            # The folder itself must come before what lies in it.
            if own:
                yield own
                own = []
            yield part
    if own:
        yield own


def by_size(entries, name):
    """(entries, whether they stand alone). Of a large folder each large sub-folder does: libraries that stay lie beside classes that do not."""
    if len(entries) == 1 or weight(entries) < MEMBER_BYTES:
        yield entries, False
        return
    depth = name.count("/") + 1
    small = []
    for _child, found in itertools.groupby(entries, lambda entry: entry.name.split("/")[: depth + 1]):
        below = list(found)
        if len(below) > 1 and weight(below) >= SUB_MEMBER_BYTES:
            if small:
                yield small, weight(small) >= MEMBER_BYTES
            small = []
            yield below, True
        else:
            small.extend(below)
    if small:
        yield small, weight(small) >= MEMBER_BYTES


def shared_folder(path, name, mounts):
    """A link to what the platform has mounted, or a folder that a buildpack has marked."""
    if path.is_symlink():
        target = Path(os.readlink(path))
        for kind in ("runtimes", "layers"):
            root = mounts / kind
            if target.is_relative_to(root) and target.is_dir():
                return Folder(str(target), name, kind, target.relative_to(root).parts[0], marker_in(target))
        return None
    key = marker_in(path)
    return Folder(str(path), name, "made", None, key) if key and path.is_dir() else None


def member_of(folder, member_folder, mounts, used):
    """The key says what the folder holds, so that its files need not be read to know it."""
    plain = folder.name[2:].replace("/", "_")
    if folder.kind == "runtimes":
        name = f"{folder.source}@{plain}.gz"
        known = mounts / "runtimes" / ".members" / name
        # Packed here it would be the same files in other bytes.
        deadline = time.monotonic() + MEMBER_SECONDS
        while not known.is_file() and time.monotonic() < deadline and is_packed_by_platform(folder):
            time.sleep(0.05)
        if known.is_file():
            return known
    else:
        name = hashlib.sha256(f"{folder.name}\0{folder.key}".encode()).hexdigest() + ".gz"
    found = member_folder / name
    used.add(name)
    if folder.kind == "made" or not found.is_file():
        partial = member_folder / (name + ".new")
        compress_folder(folder, partial)
        partial.rename(found)
    return found


def is_packed_by_platform(folder):
    """For where the first buildpack puts a runtime, under its own name; for any other place nobody does."""
    own = folder.name.rsplit("/", 1)[1] + "-"
    # Its version follows: yarn-1.22.22 is packed as yarn, yarn-berry-4.9.1 is not.
    return folder.name.startswith("./deps/0/") and folder.source.startswith(own) and folder.source[len(own) :][:1].isdigit()


def marker_in(folder):
    try:
        with open(os.path.join(folder, MARKER), encoding="utf-8") as source:
            return source.read()
    except OSError:
        return None


def date_of(entry):
    """Of the app's own files theirs; see Dates."""
    return int(entry.info.st_mtime) if stat.S_ISREG(entry.info.st_mode) and entry.name.startswith("./app/") else COMMON_DATE


def weight(entries):
    return sum(entry.info.st_size for entry in entries if stat.S_ISREG(entry.info.st_mode))


def level_of(entries):
    """For pigz: 0 where nearly all is compressed already."""
    total = weight(entries)
    compressed = weight(each for each in entries if each.name.endswith(COMPRESSED))
    return 0 if total >= MEMBER_BYTES and compressed * 10 >= total * 9 else 1


def entry_of(path, name):
    return Entry(str(path), name, os.lstat(path))


def tree(path, name):
    entries = [entry_of(path, name)]
    if stat.S_ISDIR(entries[0].info.st_mode):
        for child in sorted(os.listdir(path)):
            entries.extend(tree(os.path.join(path, child), f"{name}/{child}"))
    return [each for each in entries if stat.S_IFMT(each.info.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)]


def find_or_make(entries, folder, last, used):
    if last or weight(entries) < MEMBER_BYTES:
        made = folder / "once-part.gz"
        compress(entries, made, END_OF_ARCHIVE if last else b"")
        return made
    name = fingerprint(entries) + ".gz"
    found = folder / name
    if not found.is_file():
        partial = folder / (name + ".new")
        compress(entries, partial, b"")
        partial.rename(found)
    used.add(name)
    return found


def fingerprint(entries):
    """By content, not by time: package managers give all files one date."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        digests = pool.map(content_digest, entries, chunksize=64)
        total = hashlib.sha256(b"1\n")
        for entry, digest in zip(entries, digests):
            info = entry.info
            total.update(f"{entry.name}\0{info.st_mode:o}\0{date_of(entry)}\0{digest}\n".encode("utf-8", "surrogateescape"))
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
    def write(sink):
        for entry in entries:
            write_entry(entry, sink)
        sink.write(closing)

    gzip_into(output, write, level_of(entries))


def compress_folder(folder, output):
    """By tar, which is quicker at thousands of files than we are; without the blocks that end an archive, for this is a piece of one."""
    line = ["tar", "-c", "-b", "1", "--format=gnu", "--sort=name", "--hard-dereference", "--warning=no-file-ignored"]
    line += [f"--mtime=@{COMMON_DATE}", f"--owner=vcap:{VCAP}", f"--group=vcap:{VCAP}", f"--transform=flags=rSH;s,^\\.,{folder.name},", "-C", folder.path, "."]

    def write(sink):
        tar = subprocess.Popen(line, stdout=subprocess.PIPE)
        held = b""
        while chunk := tar.stdout.read(CHUNK):
            held += chunk
            sink.write(held[: -len(END_OF_ARCHIVE)])
            held = held[-len(END_OF_ARCHIVE) :]
        if tar.wait() != 0 or held != END_OF_ARCHIVE:
            raise OSError(5, f"tar ended with status {tar.returncode}")

    gzip_into(output, write, 1)


def gzip_into(output, write, level):
    # With one processor pigz would write other bytes than with several. gzip knows no level 0.
    threads = str(max(2, os.cpu_count() or 2))
    tool = ["pigz", f"-{level}", "-n", "-c", "-p", threads] if shutil.which("pigz") else ["gzip", "-1", "-n", "-c"]
    with open(output, "wb") as sink:
        process = subprocess.Popen(tool, stdin=subprocess.PIPE, stdout=sink)
        try:
            write(process.stdin)
        finally:
            process.stdin.close()
            status = process.wait()
    if status != 0:
        raise OSError(28 if shutil.disk_usage(output).free == 0 else 5, f"{tool[0]} ended with status {status}")


def write_entry(entry, sink):
    info = entry.info
    header = tarfile.TarInfo(entry.name)
    header.mode = stat.S_IMODE(info.st_mode) & 0o777
    header.mtime = date_of(entry)
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
