"""Which line of Python the app asks for."""
import json
import re

import locked
from bloomery import log

SHAPE = re.compile(r"^(?:python-)?(\d+)(?:\.(\d+|x))?(?:\.(\d+|x))?$")


def wanted(build):
    """(text, where it stands), or (None, None)."""
    for name in ("runtime.txt", ".python-version"):
        path = build / name
        if path.is_file():
            lines = [line.split("#")[0].strip() for line in path.read_text("utf-8", "replace").splitlines()]
            text = next((line for line in lines if line), None)
            if text:
                return text, name
    lock = build / "Pipfile.lock"
    if lock.is_file():
        try:
            requires = json.loads(lock.read_text()).get("_meta", {}).get("requires", {})
        except ValueError as error:
            log.fail(f"Pipfile.lock is not valid JSON: {error}")
        text = requires.get("python_full_version") or requires.get("python_version")
        if text:
            return text, "Pipfile.lock"
    project = build / "pyproject.toml"
    if project.is_file():
        found = locked.read_toml(project)
        text = found.get("project", {}).get("requires-python") or found.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python")
        if isinstance(text, str) and text != "*":
            return text, "pyproject.toml"
    return None, None


def check(text, where, available):
    """Ends staging where the wish is not within the line that the stack has. `available`: e.g. "3.11.2"."""
    match = SHAPE.match(text)
    if where == "pyproject.toml" and not match:
        check_range(text, where, available)
        return
    if not match:
        log.fail(f"{where} names {text!r}, which is no Python version; write for example python-3.11.x")
    have = available.split(".")
    for asked, present in zip(match.groups(), have[:2]):
        if asked not in (None, "x") and asked != present:
            log.fail(
                f"{where} asks for Python {text}, which is not available.\n"
                f"Available: {have[0]}.{have[1]}.x ({available}). Change {where}, or name a buildpack that brings another (cf push -b)."
            )
    patch = match.group(3)
    if patch not in (None, "x") and patch != have[2]:
        log.warning(f"{where} asks for {text}; the stack has {available} of the same line, which is used")


def check_range(text, where, available):
    """A range as pyproject.toml has it (PEP 440, or Poetry's ^3.10)."""
    caret = re.fullmatch(r"\^(\d+)(?:\.\d+)*", text.strip())
    pep440 = f">={text.strip()[1:]},<{int(caret.group(1)) + 1}" if caret else text
    try:
        fits = locked.Requirement(f"python{pep440}").specifier.contains(available)
    except locked.InvalidRequirement:
        log.warning(f"{where} names Python {text!r}, which is not understood here; {available} is used")
        return
    if not fits:
        log.fail(f"{where} asks for Python {text}, which is not available.\nAvailable: {available}. Change it, or name a buildpack that brings another (cf push -b).")
