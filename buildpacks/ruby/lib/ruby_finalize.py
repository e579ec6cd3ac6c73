"""Prepares Rails' assets and names the start commands."""
import os
import secrets

from bloomery import commands, log
from gemfile import Gemfile
from ruby_supply import set_environment


def finalize(staging):
    staging.use_supplied()
    gemfile = Gemfile(staging.build)
    if gemfile.path.is_file():
        set_environment(staging, gemfile, os.environ.get("BUNDLE_WITHOUT", "development:test"))
        rails = gemfile.version_of("railties") or gemfile.version_of("rails")
        if rails:
            write_secret(staging)
        precompile(staging, rails)
        staging.write_launch(processes(staging.build, gemfile, rails))
    staging.write_launch_profile()


def processes(build, gemfile, rails):
    common = {"rake": "bundle exec rake", "console": "bundle exec irb"}
    if rails and rails >= (4,):
        command = "bin/rails" if (build / "bin" / "rails").is_file() else "bundle exec rails"
        web = f"{command} server -b 0.0.0.0 -p $PORT -e $RAILS_ENV"
        return {"web": web, "worker": "bundle exec rake jobs:work", "rake": common["rake"], "console": f"{command} console"}
    thin = "thin" in gemfile.gems()
    if rails:
        web = "bundle exec thin start -R config.ru -e $RAILS_ENV -p $PORT" if thin else "bundle exec rails server -p $PORT"
        return {"web": web, "worker": "bundle exec rake jobs:work", **common}
    if (build / "config.ru").is_file() and "rack" in gemfile.gems():
        web = "bundle exec thin start -R config.ru -e $RACK_ENV -p $PORT" if thin else "bundle exec rackup config.ru -o 0.0.0.0 -p $PORT"
        return {"web": web, **common}
    return {}


def write_secret(staging):
    """One for the app's life, until its cache is cleared: all instances need the same."""
    path = staging.cache / "secret_key_base"
    if not path.is_file():
        path.write_text(secrets.token_hex(64))
        path.chmod(0o600)
    staging.write_profile("ruby_secret.sh", f"export SECRET_KEY_BASE=${{SECRET_KEY_BASE:-{path.read_text()}}}\n")


def precompile(staging, rails):
    if not any((staging.build / name).is_file() for name in ("Rakefile", "rakefile", "Rakefile.rb")) or not rails:
        return
    assets = staging.build / "public" / "assets"
    if any(assets.glob("manifest*")) or any(assets.glob(".sprockets-manifest*")) or any(assets.glob(".manifest.json")):
        log.info("assets were pushed compiled (public/assets has a manifest)")
        return
    environment = {"SECRET_KEY_BASE": os.environ.get("SECRET_KEY_BASE", "dummy"), "SECRET_KEY_BASE_DUMMY": "1"}
    environment.setdefault("DATABASE_URL", os.environ.get("DATABASE_URL", "postgresql://user:pass@127.0.0.1/dbname"))
    status, text = commands.run(["bundle", "exec", "rake", "-P", "--trace"], staging.build, environment=environment, quiet=True)
    if status != 0:
        log.warning("rake could not list its tasks, so assets are not compiled here:\n" + "\n".join(text.splitlines()[:5]))
    if status != 0 or "rake assets:precompile" not in text:
        return
    log.step("Precompiling assets (rake assets:precompile)")
    commands.run(
        ["bundle", "exec", "rake", "assets:precompile"], staging.build, environment=environment,
        fail="rake assets:precompile failed; its output above says why. Compile them before the push (public/assets), or mend the task",
    )
    if "rake assets:clean" in text:
        commands.run(["bundle", "exec", "rake", "assets:clean"], staging.build, environment=environment)
