"""Checks the app's nginx.conf and writes what starts nginx with it."""
import json
import os
import shutil
import tempfile
from pathlib import Path

import nginx_template
from bloomery import commands, log, nginx_defaults
from nginx_supply import options_of

START = """#!/bin/sh
# Fills in what is known only now and becomes nginx.
set -e
{output}cd "$HOME"
mkdir -p logs
python3 -B "$DEPS_DIR/{index}/nginx/nginx_template.py" "$HOME/nginx.conf" "$HOME/.nginx.conf" "$PORT"
PATH="$PATH:/usr/local/sbin:/usr/sbin" exec nginx -e stderr -p "$HOME" -c "$HOME/.nginx.conf"
"""


def finalize(staging):
    staging.use_supplied()
    build = staging.build
    source = build / "nginx.conf"
    if not source.is_file():
        log.fail("nginx.conf file must be present at the app root")
    options = options_of(build)
    plain = options.get("plaintext_env_vars")
    known = {"plain": [str(each) for each in plain] if isinstance(plain, list) else []}
    if "mime.types" in source.read_text("utf-8", "replace") and not (build / "mime.types").exists() and Path("/etc/nginx/mime.types").is_file():
        shutil.copyfile("/etc/nginx/mime.types", build / "mime.types")
    check(staging, source, known)
    folder = staging.own / "nginx"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bloomery").mkdir()
    shutil.copy2(Path(__file__).parent / "nginx_template.py", folder / "nginx_template.py")
    shutil.copy2(nginx_defaults.__file__, folder / "bloomery" / "nginx_defaults.py")
    (folder / "nginx.json").write_text(json.dumps(known))
    script = staging.own / "bin" / "start-nginx"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(START.format(index=staging.index, output=commands.OPENABLE_OUTPUT))
    script.chmod(0o755)
    staging.write_launch({"web": f"$DEPS_DIR/{staging.index}/bin/start-nginx"})
    staging.write_launch_profile()


def check(staging, source, known):
    """A mistake shows at the push, not at the start."""
    target = staging.build / ".nginx.conf"
    with tempfile.TemporaryDirectory() as temporary:
        try:
            called = nginx_template.render_file(source, target, 8080, known, os.environ, temporary)
        except nginx_template.Malformed as error:
            log.fail(str(error))
        if "port" not in called:
            log.fail("no {{port}} in nginx.conf: the port is known only at the start; write  listen {{port}};")
        (staging.build / "logs").mkdir(exist_ok=True)
        status, text = commands.run(
            [commands.need("nginx", "nginx-light"), "-e", "stderr", "-t", "-q", "-p", staging.build, "-c", target], staging.build, quiet=True
        )
    target.unlink()
    if status != 0:
        log.fail(f"nginx.conf contains syntax errors:\n{text.strip().replace(str(target), 'nginx.conf')}")
