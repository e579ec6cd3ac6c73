"""Finds nginx."""
import re

from bloomery import commands, log, runtimes, yaml_file


def options_of(build):
    path = build / "buildpack.yml"
    found = yaml_file.read_map(path).get("nginx") if path.is_file() else None
    return found if isinstance(found, dict) else {}


def supply(staging):
    staging.banner("Nginx Buildpack")
    staging.write_config("nginx")
    program = commands.need("nginx", "nginx-light")
    match = re.search(r"nginx/(\d+\.\d+\.\d+)", commands.output([program, "-v"]) or "")
    wanted = options_of(staging.build).get("version")
    if wanted:
        log.info(f"nginx.version in buildpack.yml: {wanted}")
    found = runtimes.obtain_or_fail(staging, "nginx", str(wanted or "*"), match.group(1) if match else None)
    log.step(f"Installing nginx {found['version']} (the stack's)")
