"""nginx.conf for a folder of files. @PORT@ and @HOME@ are filled in at each start."""

HEAD = """worker_processes 1;
daemon off;
pid @HOME@/nginx/run/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }

http {
  charset utf-8;
  access_log /dev/stdout combined;
  default_type application/octet-stream;
  include @HOME@/nginx/conf/mime.types;
  sendfile on;
  gzip on;
  gzip_disable "msie6";
  gzip_comp_level 6;
  gzip_min_length 1100;
  gzip_buffers 16 8k;
  gzip_proxied any;
  gunzip on;
  gzip_static on;
  gzip_types text/plain text/css text/js text/xml text/javascript application/javascript application/json application/xml
    application/rss+xml image/svg+xml;
  gzip_vary on;
  tcp_nopush on;
  keepalive_timeout 30;
  port_in_redirect off;
  server_tokens off;
  types_hash_max_size 4096;
  client_body_temp_path @HOME@/nginx/run/body;
  proxy_temp_path @HOME@/nginx/run/proxy;
  fastcgi_temp_path @HOME@/nginx/run/fastcgi;
  uwsgi_temp_path @HOME@/nginx/run/uwsgi;
  scgi_temp_path @HOME@/nginx/run/scgi;
"""


def render(options, has_auth):
    lines = ["  server {", f"    listen @PORT@{' http2' if options.http2 else ''};", "    server_name localhost;"]
    lines += ["    root @HOME@/public;"]
    if options.force_https:
        lines += [
            "    set $updated_host $host;",
            '    if ($http_x_forwarded_host != "") { set $updated_host $http_x_forwarded_host; }',
            '    if ($http_x_forwarded_proto != "https") { return 301 https://$updated_host$request_uri; }',
        ]
    for code, page in options.status_codes.items():
        lines.append(f"    error_page {code} {page};")
    lines += ["    location / {"]
    if options.pushstate:
        lines += ["      if (!-e $request_filename) { rewrite ^(.*)$ / break; }"]
    lines += ["      index index.html index.htm Default.htm;"]
    if options.directory:
        lines.append("      autoindex on;")
    if has_auth:
        lines += ['      auth_basic "Restricted";', "      auth_basic_user_file @HOME@/nginx/conf/.htpasswd;"]
    if options.ssi:
        lines.append("      ssi on;")
    if options.hsts:
        extra = ("; includeSubDomains" if options.hsts_subdomains else "") + ("; preload" if options.hsts_preload else "")
        lines.append(f'      add_header Strict-Transport-Security "max-age=31536000{extra}" always;')
    if options.location_include:
        lines.append(f"      include {options.location_include};")
    lines.append("    }")
    if not options.dot_files:
        lines += [
            "    location ~ /\\. {",
            "      deny all;",
            "      return 404;",
            "    }",
        ]
    lines += ["  }", "}"]
    return HEAD + "\n".join(lines) + "\n"
