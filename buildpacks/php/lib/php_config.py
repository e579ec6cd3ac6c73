"""The configuration of PHP, php-fpm and the web server, as templates: @{HOME}, @{TMPDIR}, @{PORT} and @{DEPS_DIR} are filled in at each start."""
import json
import os
import re
import shutil
from pathlib import Path
from urllib.parse import urlencode

from bloomery import commands, log

# What Cloud Foundry's PHP has built in, and Debian keeps in files of their own.
ALWAYS = (
    "calendar ctype dom exif fileinfo ftp gettext iconv mbstring opcache pdo phar posix readline shmop simplexml sockets sysvmsg sysvsem "
    "sysvshm tokenizer xml xmlreader xmlwriter"
).split()
NEEDS = {"pdo_mysql": ["mysqlnd", "pdo"], "mysqli": ["mysqlnd"], "pdo_pgsql": ["pdo", "pgsql"], "pdo_sqlite": ["pdo"], "xsl": ["xml", "dom"], "memcached": ["igbinary", "msgpack"], "redis": ["igbinary"]}
SETTINGS = """expose_php = Off
include_path = "../lib/php:@{HOME}/#{LIBDIR}"
upload_tmp_dir = "@{TMPDIR}"
sys_temp_dir = "@{TMPDIR}"
session.save_path = "@{TMPDIR}"
error_log = /dev/stderr
log_errors = On
display_errors = Off
html_errors = Off
variables_order = "EGPCS"
date.timezone = UTC
"""
FPM = """[global]
daemonize = no
error_log = /proc/self/fd/2
log_level = notice

[www]
listen = @{TMPDIR}/php-fpm.socket
pm = dynamic
pm.max_children = 5
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
clear_env = no
catch_workers_output = yes
decorate_workers_output = no
include = @{DEPS_DIR}/#{INDEX}/php/fpm.d/*.conf
"""
HTTPD = """ServerRoot /etc/apache2
Listen @{PORT}
ServerAdmin #{ADMIN_EMAIL}
ServerName localhost
ServerTokens Prod
ServerSignature Off
TraceEnable Off
PidFile @{TMPDIR}/httpd.pid
DefaultRuntimeDir @{TMPDIR}
Mutex file:@{TMPDIR}
ErrorLog "|$/bin/cat >&2"
ErrorLogFormat "[%l] [client %a] %M"
LogFormat "%a - %u %t \\"%r\\" %>s %b \\"%{Referer}i\\" \\"%{User-Agent}i\\"" combined
#{MODULES}
<IfModule mpm_event_module>
  StartServers 1
  ThreadsPerChild 25
  MaxRequestWorkers 50
</IfModule>
CustomLog "|/bin/cat" combined
TypesConfig /etc/mime.types
RemoteIPHeader x-forwarded-for
RemoteIPInternalProxy 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 127.0.0.0/8
SetEnvIf x-forwarded-proto https HTTPS=on
<Directory />
  AllowOverride None
  Require all denied
</Directory>
DocumentRoot "@{HOME}/#{WEBDIR}"
DirectoryIndex index.php index.html index.htm
<Directory "@{HOME}/#{WEBDIR}">
  Options SymLinksIfOwnerMatch
  AllowOverride All
  Require all granted
</Directory>
<Files ".ht*">
  Require all denied
</Files>
<Proxy "unix:@{TMPDIR}/php-fpm.socket|fcgi://php-fpm" enablereuse=on max=10>
</Proxy>
<FilesMatch "\\.php$">
  <If "-f %{REQUEST_FILENAME}">
    SetHandler "proxy:unix:@{TMPDIR}/php-fpm.socket|fcgi://php-fpm"
  </If>
</FilesMatch>
SetEnvIf Authorization "(.*)" HTTP_AUTHORIZATION=$1
IncludeOptional @{HOME}/.bp-config/httpd/*.conf
IncludeOptional @{HOME}/.bp-config/httpd/extra/*.conf
"""
HTTPD_MODULES = (
    "mpm_event authz_core authz_host authz_user auth_basic authn_core authn_file access_compat alias autoindex deflate dir env expires filter "
    "headers mime negotiation proxy proxy_fcgi remoteip reqtimeout rewrite setenvif"
).split()
NGINX = """daemon off;
error_log stderr notice;
pid @{TMPDIR}/nginx.pid;
worker_processes auto;
events { worker_connections 1024; }
http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log /dev/stdout;
  sendfile on;
  keepalive_timeout 65;
  gzip on;
  port_in_redirect off;
  server_tokens off;
  client_max_body_size 64m;
  client_body_temp_path @{TMPDIR}/nginx_body;
  fastcgi_temp_path @{TMPDIR}/nginx_fastcgi;
  proxy_temp_path @{TMPDIR}/nginx_proxy;
  uwsgi_temp_path @{TMPDIR}/nginx_uwsgi;
  scgi_temp_path @{TMPDIR}/nginx_scgi;
  map $http_x_forwarded_proto $proxy_https { default ""; https on; }
  upstream php_fpm { server unix:@{TMPDIR}/php-fpm.socket; }
  include @{HOME}/.bp-config/nginx/http*.conf;
  server {
    listen @{PORT};
    server_name _;
    root @{HOME}/#{WEBDIR};
    index index.php index.html index.htm;
    include @{HOME}/.bp-config/nginx/server*.conf;
    location ~ /\\. { deny all; return 404; }
    location ~ .*\\.php$ {
      try_files $uri =404;
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
      fastcgi_param HTTPS $proxy_https if_not_empty;
      fastcgi_pass php_fpm;
    }
  }
}
"""


def write(staging, options, version):
    """Everything goes to deps/<index>/php."""
    folder = staging.own / "php"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("php.ini.d", "fpm.d"):
        (folder / name).mkdir(parents=True)
    line = ".".join(version.split(".")[:2])
    fixed = {
        "INDEX": staging.index, "WEBDIR": options.folder("WEBDIR"), "LIBDIR": options.folder("LIBDIR"), "ADMIN_EMAIL": str(options["ADMIN_EMAIL"]),
        "MODULES": httpd_modules() if options.server == "httpd" else "", "PHP_FPM_LISTEN": "@{TMPDIR}/php-fpm.socket",
    }
    own = staging.build / ".bp-config"
    base = own / "php" / "php.ini"
    ini = base.read_text("utf-8", "replace") if base.is_file() else production_ini(line)
    (folder / "php.ini").write_text(fill(ini, fixed))
    (folder / "php.ini.d" / "00-bloomery.ini").write_text(fill(SETTINGS, fixed))
    handler, settings = session_store()
    wanted = options.extensions() | ({handler} if handler else set())
    (folder / "php.ini.d" / "10-extensions.ini").write_text(extension_lines(line, wanted) + settings)
    copy_own(own / "php" / "php.ini.d", "*.ini", folder / "php.ini.d", fixed)
    (folder / "fpm.d" / "00-app.conf").write_text("; the app's own follow\n")
    copy_own(own / "php" / "fpm.d", "*.conf", folder / "fpm.d", fixed)
    own_fpm = own / "php" / "php-fpm.conf"
    (folder / "php-fpm.conf").write_text(fill(own_fpm.read_text("utf-8", "replace") if own_fpm.is_file() else FPM, fixed))
    for server, template in (("httpd", HTTPD), ("nginx", NGINX)):
        if options.server == server:
            (folder / f"{server}.conf").write_text(fill(template, fixed))


def fill(text, values):
    return re.sub(r"#\{(\w+)\}", lambda match: values.get(match.group(1), match.group(0)), text)


def copy_own(source, pattern, target, fixed):
    for path in sorted(source.glob(pattern)):
        (target / f"50-{path.name}").write_text(fill(path.read_text("utf-8", "replace"), fixed))


def production_ini(line):
    path = Path(f"/usr/lib/php/{line}/php.ini-production")
    return path.read_text() if path.is_file() else ""


def extension_lines(line, asked):
    """By Debian's order of loading: some need others before them."""
    available = {path.stem: path.read_text() for path in Path(f"/etc/php/{line}/mods-available").glob("*.ini")}
    builtin = {name.lower() for name in (commands.output(["php", "-n", "-m"]) or "").splitlines()}
    wanted = set(ALWAYS) | asked
    for name in list(wanted):
        wanted.update(NEEDS.get(name, []))
    missing = sorted(name for name in wanted if name not in available and name not in builtin and name not in ALWAYS)
    for name in missing:
        log.warning(f"the PHP extension {name} is not available here. Available: {', '.join(sorted(available))}")
    chosen = sorted((name for name in wanted if name in available), key=lambda name: (priority(available[name]), name))
    return "".join(f"{text_line}\n" for name in chosen for text_line in available[name].splitlines() if re.match(r"\s*(zend_)?extension\s*=|[a-z]", text_line))


def priority(text):
    match = re.search(r"priority=(\d+)", text)
    return int(match.group(1)) if match else 20


def session_store():
    """(extension, settings) for sessions in a bound Redis or Memcached, which several instances share; (None, "") without one."""
    try:
        services = json.loads(os.environ.get("VCAP_SERVICES", "{}"))
    except ValueError:
        return None, ""
    bindings = [each for found in services.values() for each in found] if isinstance(services, dict) else []
    for each in bindings:
        name, credentials = str(each.get("name") or ""), each.get("credentials") or {}
        host = credentials.get("hostname") or credentials.get("host")
        if host and "redis-sessions" in name:
            log.info(f"sessions are kept in {name}")
            query = f"?{urlencode(redis_login(credentials))}" if credentials.get("password") else ""
            return "redis", f'session.save_handler = redis\nsession.save_path = "tcp://{host}:{credentials.get("port", 6379)}{query}"\n'
        servers = credentials.get("servers") or (f"{host}:{credentials.get('port', 11211)}" if host else None)
        if servers and "memcached-sessions" in name:
            log.info(f"sessions are kept in {name}")
            return "memcached", f'session.save_handler = memcached\nsession.save_path = "{servers}"\n'
    return None, ""


def redis_login(credentials):
    """With a name where Redis knows its users by name."""
    user, password = credentials.get("username") or credentials.get("user"), credentials["password"]
    return {"auth[user]": user, "auth[pass]": password} if user else {"auth": password}


def httpd_modules():
    folder = Path("/usr/lib/apache2/modules")
    return "\n".join(f"LoadModule {name}_module {folder}/mod_{name}.so" for name in HTTPD_MODULES if (folder / f"mod_{name}.so").is_file())


def use_here(staging):
    """For Composer: the same extensions as at launch, while staging."""
    target = staging.cache / "php-ini"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(staging.own / "php", target)
    for path in target.rglob("*.ini"):
        text = path.read_text()
        for name, value in (("HOME", str(staging.build)), ("TMPDIR", "/tmp"), ("DEPS_DIR", str(staging.deps))):
            text = text.replace(f"@{{{name}}}", value)
        path.write_text(text)
    os.environ["PHPRC"] = str(target)
    os.environ["PHP_INI_SCAN_DIR"] = str(target / "php.ini.d")
