"""Installs .NET: the SDK for source, a runtime for what was published, nothing for what carries its own."""
from bloomery import log, runtimes
from dotnet_project import Project


def supply(staging):
    staging.banner("Dotnet-Core Buildpack")
    staging.write_config("dotnet-core")
    project = Project(staging.build)
    if project.kind == "self-contained":
        log.info("the app was published self-contained: no runtime is needed")
        return
    if project.kind == "framework":
        dependency, wanted = project.runtime_range()
        log.info(f"{project.config_path.name}: {wanted}")
    else:
        dependency = "dotnet-sdk"
        wanted, where = project.sdk_range()
        log.info(f"{where}: {wanted}" if where else f"no version named: using {wanted}")
    try:
        runtimes.obtain(staging.name, dependency, wanted)
    except runtimes.Unavailable as error:
        log.fail(
            f"Unable to install {dependency}: {error}\n"
            "Publish the app with its runtime and push that: dotnet publish -r linux-x64 --self-contained; cf push -p bin/Release/net8.0/linux-x64/publish"
        )
    found = runtimes.obtain_or_fail(staging, dependency, wanted)
    log.step(f"Installing {dependency} {found['version']}")
    root = staging.provide(found, dependency, shared=True)
    staging.link(root / "dotnet", "dotnet")
    staging.write_environment("DOTNET_ROOT", str(root))
