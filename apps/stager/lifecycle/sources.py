"""Brings in what is staged: the app's package, and buildpacks named by address."""
import hashlib
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

DOWNLOAD_SECONDS = 600
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


def download_buildpack(url, destination):
    """Returns the commit or the checksum of what was there."""
    if urlsplit(url).path.endswith(".zip"):
        return {"sha256": download_zip(url, destination)}
    clone(url, destination)
    head = git(["-C", str(destination), "rev-parse", "HEAD"], dict(os.environ), capture=True)
    return {"commit": head.stdout.decode().strip()} if head.returncode == 0 else {}


def download_zip(url, destination):
    archive = Path(f"{destination}.zip")
    destination.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=60) as response, open(archive, "wb") as sink:
            while chunk := response.read(CHUNK):
                sink.write(chunk)
                digest.update(chunk)
                if time.monotonic() - started > DOWNLOAD_SECONDS:
                    raise SourceError(f"Failed to download buildpack '{masked(url)}': it took longer than {DOWNLOAD_SECONDS} s")
        size = archive.stat().st_size
        unpack_zip(archive, destination)
    except (OSError, ValueError, zipfile.BadZipFile, urllib.error.URLError) as error:
        raise SourceError(f"Failed to download buildpack '{masked(url)}': {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    print(f"Downloaded buildpack `{masked(url)}` ({size // 1024}K)", flush=True)
    return digest.hexdigest()


def clone(url, destination):
    """A shallow clone of the branch or tag after '#'; a whole one where the server or the reference does not allow it."""
    parts = urlsplit(url)
    reference = parts.fragment
    address = urlunsplit(parts._replace(fragment=""))
    destination.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    branch = ["-b", reference] if reference else []
    shallow = git(["clone", "--depth", "1", *branch, "--recursive", "--", address, str(destination)], environment)
    if shallow.returncode == 0:
        return
    shutil.rmtree(destination, ignore_errors=True)
    whole = git(["clone", "--recursive", "--", address, str(destination)], environment)
    if whole.returncode != 0:
        print(whole.stderr.decode("utf-8", "replace").replace(address, masked(address)).strip(), flush=True)
        raise SourceError(f"Failed to clone git repository at {masked(address)}")
    if reference and git(["-C", str(destination), "checkout", reference, "--"], environment).returncode != 0:
        raise SourceError(f"Failed to checkout branch '{reference}' for git repository at {masked(address)}")


def git(arguments, environment, capture=False):
    if not shutil.which("git"):
        raise SourceError("git is not installed; it is needed for buildpacks named by a git address")
    return subprocess.run(
        ["git", *arguments], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if capture else subprocess.DEVNULL, stderr=subprocess.PIPE,
        timeout=DOWNLOAD_SECONDS, check=False,
    )
