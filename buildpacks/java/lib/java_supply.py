"""Installs the JRE."""
import os
import re

from bloomery import log, runtimes
from java_app import option
from java_home import java_of

DEFAULT_JRE = "17.x"
PROFILE = """export JAVA_HOME="{home}"
export PATH="$JAVA_HOME/bin:$PATH"
export MALLOC_ARENA_MAX=${{MALLOC_ARENA_MAX:-2}}
"""


def supply(staging):
    staging.banner("Java Buildpack")
    staging.write_config("java")
    wanted, where = jre_range(staging.build)
    if where:
        log.info(f"{where}: {wanted}")
    else:
        log.info(f"no version named in JBP_CONFIG_OPEN_JDK_JRE: using {wanted}")
    home, version = java_of("java")
    found = runtimes.obtain_or_fail(staging, "jre", wanted, version)
    log.step(f"Installing OpenJDK JRE {found['version']}" + (" (the stack's)" if found["from"] == "stack-image" else ""))
    if found["from"] == "stack-image":
        at_launch = home
    else:
        home = staging.provide(found, "jre", shared=True)
        at_launch = f"$DEPS_DIR/{staging.index}/jre"
    staging.write_environment("JAVA_HOME", str(home))
    staging.write_profile("java_home.sh", PROFILE.format(home=at_launch))


def jre_range(build):
    """(range, where it stands)"""
    jre = option("OPEN_JDK_JRE").get("jre")
    if isinstance(jre, dict) and jre.get("version"):
        return str(jre["version"]), "JBP_CONFIG_OPEN_JDK_JRE"
    named = os.environ.get("BP_JVM_VERSION", "").strip()
    if named:
        return named, "BP_JVM_VERSION"
    properties = build / "system.properties"
    if properties.is_file():
        match = re.search(r"^\s*java\.runtime\.version\s*[=:]\s*(\S+)", properties.read_text("utf-8", "replace"), re.MULTILINE)
        if match:
            return match.group(1).replace("1.8", "8"), "system.properties"
    return DEFAULT_JRE, None
