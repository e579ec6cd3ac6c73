"""Brings in buildpacks named by address: zip archives and git repositories."""
import base64
import hashlib
import http.client
import os
import shutil
import subprocess
import time
import urllib.request
import zipfile
import zlib
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from sources import CHUNK, SourceError, masked, unpack_zip

DOWNLOAD_SECONDS = 600
TIMED_OUT = 124
# An address that says nothing for so long holds up a build, and those that wait for its place.
SILENT_SECONDS = 60
# RuntimeError, NotImplementedError: an encrypted archive, or one packed in a way that Python does not know.
BROKEN = (OSError, ValueError, EOFError, RuntimeError, http.client.HTTPException, zipfile.BadZipFile, zlib.error)


def request_for(url):
    """User and password of the address go into a header, as Cloud Foundry's builder has it, and to no other address."""
    parts = urlsplit(url)
    userinfo, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))
    if at:
        user, _, password = userinfo.partition(":")
        login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {login}")
    return request


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
    failed = f"Failed to download buildpack '{masked(url)}'"
    print(f"Downloading buildpack `{masked(url)}`...", flush=True)
    try:
        digest, size = fetch(request_for(url), archive)
        unpack_zip(archive, destination)
    except (SourceError, *BROKEN) as error:
        raise SourceError(f"{failed}: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    print(f"Downloaded buildpack `{masked(url)}` ({size // 1024}K)", flush=True)
    return digest


def fetch(request, archive):
    """Returns the checksum of what came, and how many bytes."""
    started = time.monotonic()
    digest = hashlib.sha256()
    came = 0
    with urllib.request.urlopen(request, timeout=SILENT_SECONDS) as response, open(archive, "wb") as sink:
        # Not read(), which waits until it has all that was asked for, however slowly that comes.
        while chunk := response.read1(CHUNK):
            sink.write(chunk)
            digest.update(chunk)
            came += len(chunk)
            if time.monotonic() - started > DOWNLOAD_SECONDS:
                raise SourceError(f"it took longer than {DOWNLOAD_SECONDS} s")
        promised = response.headers.get("Content-Length", "")
    if promised.isdigit() and came < int(promised):
        raise SourceError(f"the connection ended after {came} of {promised} bytes")
    return digest.hexdigest(), came


def clone(url, destination):
    """A shallow clone of the branch or tag after '#'; a whole one where the server or the reference does not allow it."""
    parts = urlsplit(url)
    reference = parts.fragment
    address = urlunsplit(parts._replace(fragment=""))
    destination.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        "GIT_HTTP_LOW_SPEED_LIMIT": "1", "GIT_HTTP_LOW_SPEED_TIME": str(SILENT_SECONDS), **os.environ, "GIT_TERMINAL_PROMPT": "0",
    }
    branch = ["-b", reference] if reference else []
    print(f"Cloning buildpack `{masked(url)}`...", flush=True)
    shallow = git(["clone", "--depth", "1", *branch, "--recursive", "--", address, str(destination)], environment)
    if shallow.returncode == 0:
        return
    shutil.rmtree(destination, ignore_errors=True)
    # Who says nothing is not asked again.
    silent = shallow.returncode == TIMED_OUT or b"Operation too slow" in shallow.stderr
    whole = shallow if silent else git(["clone", "--recursive", "--", address, str(destination)], environment)
    if whole.returncode != 0:
        print(whole.stderr.decode("utf-8", "replace").replace(address, masked(address)).strip(), flush=True)
        raise SourceError(f"Failed to clone git repository at {masked(address)}")
    if reference and git(["-C", str(destination), "checkout", reference, "--"], environment).returncode != 0:
        raise SourceError(f"Failed to checkout branch '{reference}' for git repository at {masked(address)}")


def git(arguments, environment, capture=False):
    if not shutil.which("git"):
        raise SourceError("git is not installed; it is needed for buildpacks named by a git address")
    try:
        return subprocess.run(
            ["git", *arguments], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else subprocess.DEVNULL, stderr=subprocess.PIPE,
            timeout=DOWNLOAD_SECONDS, check=False,
        )
    except subprocess.TimeoutExpired:
        # Its own text holds the address, with user and password.
        return subprocess.CompletedProcess([], TIMED_OUT, b"", f"git took longer than {DOWNLOAD_SECONDS} s".encode())
