"""Components and their package URLs."""
from urllib.parse import quote


def component(kind, name, version, checksum=None):
    """`name` as its ecosystem writes it: @scope/name of npm, group:artifact of Maven, vendor/name of Composer."""
    shown = str(name).strip()
    if kind == "pypi":
        shown = shown.lower().replace("_", "-").replace(".", "-")
    whole = shown.replace(":", "/") if kind == "maven" else shown
    encoded = "/".join(quote(part, safe=".-_~") for part in whole.split("/"))
    version = str(version).strip()
    purl = f"pkg:{kind}/{encoded}@{quote(version, safe='.-_~+')}"
    return {"purl": purl, "name": shown, "version": version, "kind": "library", "checksum": checksum}
