"""What an app's own nginx.conf leaves open. Also runs at launch, with nothing but Python's standard library."""
import re

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def complete(text, temporary):
    """Adds what would otherwise point to folders of the system, or keep nginx in the background. `temporary`: a folder to write in."""
    bare = re.sub(r"#.*", "", text)
    top = [] if re.search(r"(^|[;{}\s])pid\s", bare) else [f"pid {temporary}/nginx.pid;"]
    if not re.search(r"(^|[;{}\s])daemon\s", bare):
        top.append("daemon off;")
    inside = [f"{name}_temp_path {temporary}/nginx_{name};" for name in TEMPORARY if f"{name}_temp_path" not in bare]
    if not re.search(r"(^|[;{}\s])access_log\s", bare):
        inside.append("access_log /dev/stdout;")
    text = re.sub(r"(^|[;}\s])(http\s*\{)", lambda match: f"{match.group(0)} {' '.join(inside)}", text, count=1)
    return f"{text}\n{' '.join(top)}\n" if top else text
