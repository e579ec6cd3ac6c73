"""Tomcat for apps with a WEB-INF folder or a war."""
import os
import re
import shutil
import zipfile
from pathlib import Path
from xml.sax.saxutils import quoteattr

from bloomery import commands, log, runtimes
from java_app import option
from java_build import explode

STACK_HOME = Path("/usr/share/tomcat10")
SERVER = """<?xml version="1.0" encoding="UTF-8"?>
<Server port="-1">
  <Listener className="org.apache.catalina.core.JreMemoryLeakPreventionListener"/>
  <Listener className="org.apache.catalina.core.ThreadLocalLeakPreventionListener"/>
  <Service name="Catalina">
    <Connector port="${{http.port}}" bindOnInit="false" connectionTimeout="20000" server=" "/>
    <Engine defaultHost="localhost" name="Catalina">
      <Valve className="org.apache.catalina.valves.RemoteIpValve" protocolHeader="x-forwarded-proto"/>
      <Host name="localhost" appBase="webapps" failCtxIfServletStartFails="true" autoDeploy="false" deployOnStartup="false">
        <Valve className="org.apache.catalina.valves.ErrorReportValve" showReport="false" showServerInfo="false"/>
        <Context path={path} docBase="${{app.home}}"/>
      </Host>
    </Engine>
  </Service>
</Server>
"""
LOGGING = """handlers: java.util.logging.ConsoleHandler
.handlers: java.util.logging.ConsoleHandler
java.util.logging.ConsoleHandler.level: FINE
java.util.logging.ConsoleHandler.formatter: org.apache.juli.OneLineFormatter
"""


def install(staging, app):
    if app.path is not None:
        explode(app.path, staging.build)
        app.path.unlink()
    tomcat = option("TOMCAT").get("tomcat")
    tomcat = tomcat if isinstance(tomcat, dict) else {}
    wanted = str(tomcat.get("version") or default_range(staging))
    found = runtimes.obtain_or_fail(staging, "tomcat", wanted, version_of_stack())
    log.step(f"Installing Tomcat {found['version']}" + (" (the stack's)" if found["from"] == "stack-image" else ""))
    base = staging.own / "tomcat"
    if found["from"] == "stack-image":
        home, source = str(STACK_HOME), STACK_HOME / "skel" / "conf"
        # What else it needs lies with the stack's Java libraries.
        if not source.is_dir():
            source = STACK_HOME / "etc"
    else:
        distribution = staging.provide(found, "tomcat-dist", shared=True)
        home, source = f"$DEPS_DIR/{staging.index}/tomcat-dist", distribution / "conf"
    write_base(base, source, str(tomcat.get("context_path") or "").rstrip("/"))
    staging.write_profile(
        "java_tomcat.sh", f'export CATALINA_HOME="{home}"\nexport CATALINA_BASE="$DEPS_DIR/{staging.index}/tomcat"\nmkdir -p "$CATALINA_BASE/temp" "$CATALINA_BASE/work"\n'
    )
    log_options = "-Djava.util.logging.config.file=$CATALINA_BASE/conf/logging.properties -Djava.util.logging.manager=org.apache.juli.ClassLoaderLogManager"
    return (
        f"exec $JAVA_HOME/bin/java $JAVA_OPTS {log_options} -Dhttp.port=$PORT -Dapp.home=$HOME -Dcatalina.home=$CATALINA_HOME "
        "-Dcatalina.base=$CATALINA_BASE -cp $CATALINA_HOME/bin/bootstrap.jar:$CATALINA_HOME/bin/tomcat-juli.jar "
        "org.apache.catalina.startup.Bootstrap start"
    )


def default_range(staging):
    text = commands.output([Path(os.environ["JAVA_HOME"]) / "bin" / "java", "-version"]) or ""
    match = re.search(r'version "(\d+)', text)
    return "10.1.x" if match and int(match.group(1)) >= 11 else "9.x"


def version_of_stack():
    jar = STACK_HOME / "lib" / "catalina.jar"
    if not jar.exists():
        return None
    with zipfile.ZipFile(jar) as opened:
        text = opened.read("org/apache/catalina/util/ServerInfo.properties").decode()
    match = re.search(r"server\.number=(\d+\.\d+\.\d+)", text)
    return match.group(1) if match else None


def write_base(base, source, context_path):
    conf = base / "conf"
    conf.mkdir(parents=True)
    for name in ("web.xml", "catalina.properties"):
        if (source / name).is_file():
            shutil.copyfile(source / name, conf / name)
    (conf / "server.xml").write_text(SERVER.format(path=quoteattr(context_path)))
    (conf / "context.xml").write_text("<Context><WatchedResource>WEB-INF/web.xml</WatchedResource></Context>\n")
    (conf / "logging.properties").write_text(LOGGING)
    for name in ("webapps", "temp", "work", "logs"):
        (base / name).mkdir()
