"""Puts the app into its web root and writes what starts it."""
import re
import shutil

from bloomery import bom, commands, log
from php_config import fill
from php_options import Options

# What is neither part of the web site nor of the libraries.
STAYS = ("Procfile", "manifest.yml", "manifest.yaml", "composer.json", "composer.lock")
START = """#!/bin/bash
# Starts php-fpm and the web server; when either ends, so does the instance.
#{OUTPUT}conf="$TMPDIR/php"
mkdir -p "$conf"
cp -R "$DEPS_DIR/#{INDEX}/php/." "$conf/"
find "$conf" -type f -exec sed -i -e "s|@{HOME}|$HOME|g" -e "s|@{TMPDIR}|$TMPDIR|g" -e "s|@{PORT}|$PORT|g" -e "s|@{DEPS_DIR}|$DEPS_DIR|g" {} +
sed -i -e "s|^include = .*/fpm.d/|include = $conf/fpm.d/|" "$conf/php-fpm.conf"
export PATH="$PATH:/usr/local/sbin:/usr/sbin"
#{PREPROCESS}#{START}"""
WEB = """trap 'kill -TERM $(jobs -p) 2>/dev/null' TERM INT
#{FPM} --nodaemonize --fpm-config "$conf/php-fpm.conf" &
for _ in $(seq 100); do [ -S "$TMPDIR/php-fpm.socket" ] && break; kill -0 $! 2>/dev/null || break; sleep 0.05; done
#{SERVER} &
wait -n
status=$?
kill -TERM $(jobs -p) 2>/dev/null
wait
exit $status
"""
SERVERS = {
    "httpd": 'apache2 -f "$conf/httpd.conf" -DFOREGROUND',
    "nginx": 'nginx -e stderr -p "$TMPDIR" -c "$conf/nginx.conf"',
}


def finalize(staging):
    staging.use_supplied()
    options = Options(staging.build)
    if options.server != "none":
        fpm = find_servers(staging, options)
        make_web_root(staging, options)
        command = fill(WEB, {"FPM": fpm, "SERVER": SERVERS[options.server]})
    else:
        command = f"exec {options.start_command()}\n"
    before = "".join(f"{each} || exit $?\n" for each in options.list("ADDITIONAL_PREPROCESS_CMDS"))
    script = staging.own / "bin" / "start-php"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(fill(START, {"INDEX": staging.index, "OUTPUT": commands.OPENABLE_OUTPUT, "PREPROCESS": before, "START": command}))
    script.chmod(0o755)
    staging.write_launch({"web": f"$DEPS_DIR/{staging.index}/bin/start-php"})
    staging.write_launch_profile()


def find_servers(staging, options):
    version = ".".join((commands.output(["php", "-n", "-r", "echo PHP_VERSION;"]) or "8.2").split(".")[:2])
    fpm = commands.need(f"php-fpm{version}", f"php{version}-fpm")
    program = commands.need("apache2" if options.server == "httpd" else "nginx", "apache2" if options.server == "httpd" else "nginx-light")
    name = "httpd" if options.server == "httpd" else "nginx"
    found = re.search(r"/(\d[\w.]*)", commands.output([program, "-v"]) or "")
    log.step(f"Installing {name} {found.group(1) if found else ''} (the stack's)")
    if found:
        bom.add(staging, bom.of_stack(name, found.group(1)))
    return fpm


def make_web_root(staging, options):
    """Where there is no web root, the whole app becomes it."""
    build, name = staging.build, options.folder("WEBDIR")
    root = build / name
    if not name or root.is_dir():
        log.info(f"Web root {name or '/'}")
        return
    log.info(f"no folder {name}: the app is moved there")
    library = options.folder("LIBDIR").split("/")[0]
    collected = build / ".bloomery-webroot"
    collected.mkdir()
    for path in sorted(build.iterdir()):
        if path == collected or path.name in STAYS or path.name == library or path.name.startswith(".") and path.is_dir():
            continue
        if path.name in (".profile", ".cfignore"):
            continue
        shutil.move(str(path), str(collected / path.name))
    root.parent.mkdir(parents=True, exist_ok=True)
    collected.rename(root)
