"""Runs other programs, with their output in the staging log."""
import os
import re
import shutil
import subprocess

from . import log

# For start scripts of servers that open /dev/stdout and /dev/stderr: a socket cannot be opened anew, as files and pipes can.
OPENABLE_OUTPUT = """if [ -S /proc/self/fd/1 ]; then
  mkfifo "$TMPDIR/.output"; cat "$TMPDIR/.output" & exec > "$TMPDIR/.output"
fi
if [ -S /proc/self/fd/2 ]; then
  mkfifo "$TMPDIR/.errors"; cat "$TMPDIR/.errors" >&2 & exec 2> "$TMPDIR/.errors"
fi
"""
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def run(line, cwd, fail=None, environment=None, quiet=False):
    """The program's output, all of which is also shown unless `quiet`. `fail`: what to say, and end staging, where its status is not 0."""
    process = subprocess.Popen(
        [str(each) for each in line], cwd=str(cwd), env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    lines = []
    for raw in process.stdout:
        text = COLOUR.sub("", raw.decode("utf-8", "replace")).rstrip()
        lines.append(text)
        if text and not quiet:
            log.info(text)
    status = process.wait()
    if status != 0 and fail:
        if quiet:
            log.info("\n".join(lines[-40:]))
        log.fail(f"{fail} (exit status {status})" if status > 0 else f"{fail} (killed by signal {-status}; staging may need more memory: cf push -m)")
    return status, "\n".join(lines)


def output(line, cwd=None):
    """What a program prints, or None where it is missing or fails. For asking programs their version."""
    try:
        done = subprocess.run([str(each) for each in line], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def find(*names):
    """The first of these programs that there is, also where only administrators have it on their path."""
    path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
    return next((found for found in (shutil.which(name, path=path) for name in names) if found), None)


def need(name, package):
    """As `find`, but ends staging with the name of Debian's package where the program is missing: so it may be on a machine without containers."""
    found = find(name)
    if not found:
        log.fail(f"{name} is not installed on this machine. Install it (Debian's package {package}), or use the docker engine, whose stack has it.")
    return found
