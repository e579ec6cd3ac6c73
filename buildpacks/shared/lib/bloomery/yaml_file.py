"""Reads small YAML files, such as Staticfile and buildpack.yml."""
import json
import re

from . import log

LINE = re.compile(r"^([A-Za-z0-9_.-]+):[ \t]*(.*?)\s*$")


def parser():
    """PyYAML, or None: a machine without containers may lack it. Loaded once it is needed, for that takes a while."""
    try:
        import yaml
    except ImportError:
        return None
    return yaml


def read_any(path):
    """Whatever a YAML or JSON file holds; None where it cannot be read as such."""
    text = path.read_text("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        pass
    yaml = parser()
    if not yaml:
        return None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def parse_map(text):
    """A map from text such as  {jre: {version: 21.+}} , or None."""
    yaml = parser()
    if not yaml:
        try:
            found = json.loads(text)
        except ValueError:
            return None
    else:
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError:
            return None
    return found if isinstance(found, dict) else None


def read_map(path):
    """A map, or {} for an empty file. Ends staging with a clear word where the file is not one."""
    text = path.read_text("utf-8", "replace")
    yaml = parser()
    if yaml:
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            log.fail(f"{path.name} is not valid YAML: {error}")
    else:
        found = {}
        for line in text.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = LINE.match(line)
            if not match:
                log.fail(f"{path.name} needs the Python package PyYAML (python3-yaml) on this machine, because of the line: {line}")
            value = match.group(2).strip("'\"")
            found[match.group(1)] = {"true": True, "false": False}.get(value, value)
    if found is None:
        return {}
    if not isinstance(found, dict):
        log.fail(f"{path.name} must be a map of keys and values")
    return found
