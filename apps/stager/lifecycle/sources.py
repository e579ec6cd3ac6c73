"""Brings in what is staged: the app's package, and the archives of buildpacks."""
import os
import shutil
import time
import zipfile
from urllib.parse import urlsplit, urlunsplit

CHUNK = 1 << 20


class SourceError(Exception):
    pass


def masked(url):
    """An address without its user and password."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rsplit("@", 1)[1]))


def unpack_zip(archive, target):
    """Unpacks with permissions, links and times. Folders stay writable for their owner, whatever the archive says."""
    target.mkdir(parents=True, exist_ok=True)
    root = os.path.realpath(target)
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            at = os.path.normpath(os.path.join(root, entry.filename))
            # The package was checked when it came; buildpack archives come from anywhere.
            if at == root:
                continue
            parent = os.path.realpath(os.path.dirname(at))
            if not at.startswith(root + os.sep) or (parent != root and not parent.startswith(root + os.sep)):
                raise SourceError(f"The archive holds a name that leads out of it: {entry.filename!r}")
            mode = entry.external_attr >> 16
            if entry.is_dir():
                os.makedirs(at, exist_ok=True)
                os.chmod(at, (mode & 0o777 or 0o755) | 0o700)
                continue
            os.makedirs(os.path.dirname(at), exist_ok=True)
            if os.path.lexists(at):
                os.unlink(at)
            if mode & 0o170000 == 0o120000:
                os.symlink(opened.read(entry).decode(), at)
                continue
            with opened.open(entry) as source, open(at, "wb") as sink:
                shutil.copyfileobj(source, sink, CHUNK)
            os.chmod(at, mode & 0o777 or 0o644)
            try:
                stamp = time.mktime((*entry.date_time, 0, 0, -1))
                os.utime(at, (stamp, stamp))
            except (ValueError, OverflowError):
                pass  # a date that does not exist; the file is as good without it
