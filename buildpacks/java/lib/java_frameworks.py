"""Libraries that Cloud Foundry adds to apps that lack them: java-cfenv for Spring Boot, JDBC drivers by bound service."""
import json
import os
import shutil

from bloomery import log, maven
from java_app import option

# java-cfenv follows Spring Boot's major version.
CFENV = ("io.pivotal.cfenv", "java-cfenv-boot")
DRIVERS = {
    "postgres": ("org.postgresql", "postgresql", r"42\.\d+\.\d+", ("postgresql-",)),
    "mysql": ("org.mariadb.jdbc", "mariadb-java-client", r"3\.\d+\.\d+", ("mariadb-java-client-", "mysql-connector-")),
}
DRIVERS["mariadb"] = DRIVERS["mysql"]


def add(staging, app):
    folder = library_folder(staging, app)
    if folder is None:
        return
    try:
        add_cfenv(staging, app, folder)
        add_drivers(staging, folder)
    except maven.NotFound as error:
        log.warning(f"a library that is usually added could not be fetched; the app starts without it: {error}")


def library_folder(staging, app):
    """Where the app's own libraries lie, so that what is put there is found."""
    for name in ("BOOT-INF/lib", "WEB-INF/lib"):
        if (staging.build / name).is_dir():
            return staging.build / name
    return None


def add_cfenv(staging, app, folder):
    major = (app.boot or "").split(".")[0]
    if not major.isdigit() or int(major) < 3 or str(option("JAVA_CF_ENV").get("enabled", True)).lower() == "false":
        return
    if any(folder.glob("java-cfenv*.jar")) or os.environ.get("JBP_CONFIG_JAVA_CF_ENV", "").strip() == "{enabled: false}":
        return
    version = pinned(staging, *CFENV, rf"{major}\.\d+\.\d+")
    found = maven.with_dependencies(staging.cache, *CFENV, version, leave_out=("org.springframework", "org.jmockit"))
    copy(found, folder)
    log.step(f"Adding java-cfenv {version}")


def add_drivers(staging, folder):
    for word, (group, artifact, pattern, present) in DRIVERS.items():
        if not is_bound(word) or any(path.name.startswith(present) for path in folder.glob("*.jar")):
            continue
        version = pinned(staging, group, artifact, pattern)
        path, digest = maven.get(staging.cache, group, artifact, version)
        copy([(group, artifact, version, path, digest)], folder)
        log.step(f"Adding {artifact} {version}")


def pinned(staging, group, artifact, pattern):
    """The same version at each push of the app, until its cache is cleared."""
    path = staging.cache / "maven-versions.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    key = f"{group}:{artifact}:{pattern}"
    if key not in known:
        known[key] = maven.newest(group, artifact, pattern)
        path.write_text(json.dumps(known))
    return known[key]


def copy(found, folder):
    for _group, _artifact, _version, path, _digest in found:
        target = folder / path.name
        if not target.exists():
            shutil.copyfile(path, target)
            os.utime(target, (315532800, 315532800))


def is_bound(word):
    try:
        services = json.loads(os.environ.get("VCAP_SERVICES", "{}"))
    except ValueError:
        return False
    for label, bindings in services.items() if isinstance(services, dict) else []:
        for binding in bindings if isinstance(bindings, list) else []:
            credentials = binding.get("credentials") or {}
            uri = str(credentials.get("uri", "")) if isinstance(credentials, dict) else ""
            texts = [label, binding.get("name") or "", *(binding.get("tags") or [])]
            if uri.startswith(word) or any(word in str(text).lower() for text in texts):
                return True
    return False
