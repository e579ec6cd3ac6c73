"""Moves the site to public/ and writes nginx's configuration."""
import os
import re
import shutil

from bloomery import bom, commands, log, nginx_defaults
from nginx_config import render
from staticfile import Staticfile

NOT_SERVED = ("Staticfile", "Staticfile.auth", "manifest.yml", "manifest.yaml", ".profile", ".profile.d", ".cloudfoundry", "stackato.yml", "Procfile")
# What an nginx.conf of the app's own says of its launch.
OF_LAUNCH = re.compile(r"<%=\s*ENV\[([\"'])(PORT|APP_ROOT)\1\]\s*%>")
PLACES = {"PORT": "@PORT@", "APP_ROOT": "@HOME@"}
BOOT = """#!/bin/sh
# Fills in what is known only now and becomes nginx.
set -e
{output}mkdir -p "$HOME/nginx/run"
sed -e "s|@PORT@|$PORT|g" -e "s|@HOME@|$HOME|g" -e "s|{{port}}|$PORT|g" "$HOME/nginx/conf/nginx.conf" > "$HOME/nginx/run/nginx.conf"
ln -sf "$HOME/nginx/conf/mime.types" "$HOME/nginx/run/mime.types"
PATH="$PATH:/usr/local/sbin:/usr/sbin" exec nginx -e stderr -p "$HOME/nginx" -c "$HOME/nginx/run/nginx.conf"
"""


def finalize(staging):
    staging.banner("Staticfile Buildpack")
    staging.write_config("staticfile")
    options = Staticfile(staging.build / "Staticfile", os.environ)
    program = commands.need("nginx", "nginx-light")
    found = re.search(r"nginx/(\d[\w.]*)", commands.output([program, "-v"]) or "")
    log.step(f"Installing nginx {found.group(1) if found else ''} (the stack's)")
    if found:
        bom.add(staging, bom.of_stack("nginx", found.group(1)))
    move_site(staging, options)
    write_nginx(staging, options, program)
    staging.write_launch_profile()


def move_site(staging, options):
    build, public = staging.build, staging.build / "public"
    root = build / options.root if options.root else build
    if not root.is_dir() or not root.resolve().is_relative_to(build.resolve()):
        log.fail(f"root in Staticfile names the folder {options.root!r}, which was not pushed")
    log.step(f"Root folder {'/' + options.root if options.root else '/'}")
    collected = build / ".bloomery-public"
    collected.mkdir()
    for path in sorted(root.iterdir()):
        if path == collected or (root == build and path.name in (*NOT_SERVED, "nginx")):
            continue
        if path.name in ("Staticfile", "Staticfile.auth", "manifest.yml", "manifest.yaml"):
            continue
        shutil.move(str(path), str(collected / path.name))
    if public.exists():
        # What else was pushed under that name is not part of the site.
        shutil.rmtree(public)
    collected.rename(public)


def write_nginx(staging, options, program):
    conf = staging.build / "nginx" / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    if options.location_include and not (conf / options.location_include).exists() and "*" not in options.location_include:
        log.warning(f"location_include names {options.location_include}, which is not in nginx/conf")
    own = conf / "nginx.conf"
    if own.is_file():
        log.warning("overriding nginx.conf is deprecated and highly discouraged, as it breaks the functionality of the Staticfile and Staticfile.auth")
        own.write_text(nginx_defaults.complete(OF_LAUNCH.sub(lambda match: PLACES[match.group(2)], own.read_text("utf-8", "replace")), "@HOME@/nginx/run"))
    auth = staging.build / "Staticfile.auth"
    if auth.is_file():
        log.step("Enabling basic authentication using Staticfile.auth")
        shutil.move(str(auth), str(conf / ".htpasswd"))
    if not own.is_file():
        if options.location_include:
            options.location_include = f"@HOME@/nginx/conf/{options.location_include.removeprefix('nginx/conf/')}"
        own.write_text(render(options, (conf / ".htpasswd").is_file()))
    if not (conf / "mime.types").is_file():
        shutil.copyfile("/etc/nginx/mime.types", conf / "mime.types")
    else:
        log.warning("overriding mime.types is deprecated")
    (staging.build / "nginx" / "logs").mkdir(exist_ok=True)
    check_syntax(staging, program)
    boot = staging.build / "boot.sh"
    boot.write_text(BOOT.replace("{output}", commands.OPENABLE_OUTPUT))
    boot.chmod(0o755)


def check_syntax(staging, program):
    """A mistake shows at the push, not at the start."""
    home, run = str(staging.build), staging.build / "nginx" / "run"
    run.mkdir(exist_ok=True)
    text = (staging.build / "nginx" / "conf" / "nginx.conf").read_text()
    for name, value in (("@PORT@", "8080"), ("{{port}}", "8080"), ("@HOME@", home)):
        text = text.replace(name, value)
    (run / "nginx.conf").write_text(text)
    (run / "mime.types").symlink_to("../conf/mime.types")
    line = [program, "-e", "stderr", "-t", "-q", "-p", f"{home}/nginx", "-c", run / "nginx.conf"]
    status, text = commands.run(line, staging.build, quiet=True)
    shutil.rmtree(run)
    if status != 0:
        log.fail(f"nginx does not accept the configuration:\n{text.strip()}")
