"""Fills in nginx.conf. Also runs at each start, with nothing but Python's standard library:  nginx_template.py IN OUT PORT

Functions as Cloud Foundry has them: {{port}}, {{env "NAME"}}, {{module "name"}}, {{nameservers}}.
"""
import html
import json
import os
import re
import sys
from pathlib import Path

from bloomery.nginx_defaults import complete

CALL = re.compile(r"\{\{-?\s*(\w+)((?:\s+(?:\"[^\"]*\"|`[^`]*`))*)\s*-?\}\}")
MODULES = ("/usr/lib/nginx/modules",)


class Malformed(Exception):
    """The text is for the user."""


def render(text, port, environment, plain, folders, nameservers, temporary):
    """`plain`: variables that are taken as they are; others are made safe for HTML, as in the reference."""
    called = set()

    def call(match):
        name, arguments = match.group(1), [each[1:-1] for each in re.findall(r"\"[^\"]*\"|`[^`]*`", match.group(2))]
        called.add(name)
        if name == "port" and not arguments:
            return str(port)
        if name == "env" and len(arguments) == 1:
            value = environment.get(arguments[0], "")
            return value if arguments[0] in plain else html.escape(value, quote=True)
        if name == "module" and len(arguments) == 1:
            path = next((f"{folder}/{arguments[0]}.so" for folder in folders if os.path.isfile(f"{folder}/{arguments[0]}.so")), None)
            if not path:
                raise Malformed(f'{{{{module "{arguments[0]}"}}}}: there is no such module. Available: {", ".join(available(folders)) or "none"}')
            return f"load_module {path};"
        if name == "nameservers" and not arguments:
            return " ".join(nameservers)
        raise Malformed(f"{match.group(0)} in nginx.conf is none of {{{{port}}}}, {{{{env \"NAME\"}}}}, {{{{module \"name\"}}}} and {{{{nameservers}}}}")

    filled = CALL.sub(call, text)
    return complete(filled, temporary), called


def available(folders):
    return sorted(path.stem for folder in folders for path in Path(folder).glob("*.so"))


def nameservers_here():
    try:
        found = re.findall(r"^\s*nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    except OSError:
        found = []
    return [f"[{each}]" if ":" in each else each for each in found] or ["127.0.0.1"]


def render_file(source, target, port, known, environment, temporary):
    folders = [f"{Path(source).parent}/modules", *MODULES]
    text, called = render(Path(source).read_text("utf-8", "replace"), port, environment, known["plain"], folders, nameservers_here(), temporary)
    Path(target).write_text(text)
    return called


if __name__ == "__main__":
    KNOWN = json.loads((Path(__file__).resolve().parent / "nginx.json").read_text())
    try:
        render_file(sys.argv[1], sys.argv[2], sys.argv[3], KNOWN, os.environ, os.environ.get("TMPDIR", "/tmp"))
    except Malformed as error:
        print(error, file=sys.stderr)
        sys.exit(1)
