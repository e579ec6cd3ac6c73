"""Reads what buildpacks and apps write as YAML, and what services give as JSON."""
import json
import re
from urllib.parse import urlsplit

DATABASE_SCHEMES = {"mysql": "mysql2", "mysql2": "mysql2", "postgres": "postgres", "postgresql": "postgres"}
PLAIN_LINE = re.compile(r"^([A-Za-z0-9_.-]+):[ \t]+(\S.*)$")


class Malformed(Exception):
    pass


def refuse(reason):
    raise Malformed(reason)


def load(text):
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        # What our own buildpacks write is JSON: loading this would take longer than reading that.
        import yaml
    except ImportError:  # The stack has PyYAML; a machine without containers may not.
        yaml = None
    if yaml:
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise Malformed("invalid YAML") from error
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#") or line.strip() == "---":
            continue
        match = PLAIN_LINE.match(line)
        if not match or match.group(2)[0] in "&*!|>[{%@`":
            raise Malformed("invalid YAML, or YAML that needs the Python package PyYAML (python3-yaml) on this machine")
        value = match.group(2).strip()
        found[match.group(1)] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
    return found or None


def to_strings(found):
    if not isinstance(found, dict):
        raise Malformed("invalid YAML")
    result = {}
    for key, value in found.items():
        if isinstance(value, bool):
            value = "true" if value else "false"
        if value is not None and not isinstance(value, (str, int, float)):
            raise Malformed("invalid YAML")
        result[str(key)] = "" if value is None else str(value)
    return result


def string_map(text):
    return to_strings(load(text) or {})


def merge_launch(path, processes, sidecars):
    """launch.yml: processes with `sidecar_for` are sidecars of those types, any other is a process type."""
    found = load(path.read_text("utf-8", "replace"))
    entries = found.get("processes") if isinstance(found, dict) else None
    for entry in entries or []:
        kind, command = str(entry.get("type", "")), str(entry.get("command", ""))
        platform = ((entry.get("platforms") or {}).get("cloudfoundry") or {}) if isinstance(entry.get("platforms"), dict) else {}
        types = platform.get("sidecar_for") or []
        if not types:
            processes[kind] = command
            continue
        memory = (entry.get("limits") or {}).get("memory")
        sidecar = {"name": kind, "process_types": [str(each) for each in types], "command": command}
        if isinstance(memory, int):
            sidecar["memory"] = memory
        sidecars[:] = [each for each in sidecars if each["name"] != kind] + [sidecar]


def database_url(services_json):
    """The first bound credential that names a database, in the scheme that frameworks expect."""
    try:
        services = json.loads(services_json) if services_json else {}
    except ValueError:
        return None
    for bindings in services.values() if isinstance(services, dict) else []:
        for binding in bindings if isinstance(bindings, list) else []:
            credentials = binding.get("credentials") if isinstance(binding, dict) else None
            uri = credentials.get("uri") if isinstance(credentials, dict) else None
            if not isinstance(uri, str):
                continue
            scheme = urlsplit(uri).scheme
            if scheme in DATABASE_SCHEMES:
                return DATABASE_SCHEMES[scheme] + uri[len(scheme):]
    return None
