import json
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from buildpack_paths import load

from bloomery import bom

go = load("go", "go_project")
gemfile = load("ruby", "gemfile")
php = load("php", "php_options")
dotnet = load("dotnet_core", "dotnet_project")
nginx = load("nginx", "nginx_template")
package_json = load("nodejs", "package_json")
components = load("nodejs", "node_components")
managers = load("nodejs", "managers")
locked = load("python", "locked")


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.build = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def put(self, name, content):
        path = self.build / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


class Go(Folder):
    def version(self, environment=None):
        return go.Project(self.build, environment or {}).version()

    def test_versions(self):
        self.assertEqual(self.version(), (["1.26.x"], None))
        self.put("go.mod", "module a\n\ngo 1.22\n")
        self.assertEqual(self.version()[0], [">=1.22.0 <1.23.0", ">=1.22.0 <2.0.0"])
        self.put("go.mod", "module a\n\ngo 1.22.3\ntoolchain go1.24.6\n")
        self.assertEqual(self.version(), (["1.24.6"], "the toolchain line of go.mod"))
        self.put("buildpack.yml", "go:\n  version: 1.23.x\n")
        self.assertEqual(self.version()[0], ["1.23.x"])
        self.assertEqual(self.version({"GOVERSION": "go1.21"})[0], ["1.21.x"])

    def test_packages_and_link_values(self):
        project = go.Project(self.build, {"GO_INSTALL_PACKAGE_SPEC": "./cmd/a ./cmd/b", "GO_LINKER_SYMBOL": "main.v", "GO_LINKER_VALUE": "a b"})
        self.assertEqual(project.packages(), ["./cmd/a", "./cmd/b"])
        self.assertEqual(project.linker_flags(), "-X 'main.v=a b'")

    def test_where_an_app_without_module_belongs(self):
        self.put("Godeps/Godeps.json", {"ImportPath": "example.com/a", "GoVersion": "go1.21"})
        project = go.Project(self.build, {})
        self.assertEqual((project.import_path(), project.version()[0]), ("example.com/a", ["1.21.x"]))
        self.assertEqual(go.Project(self.build, {"GOPACKAGENAME": "b/c"}).import_path(), "b/c")


class Ruby(Folder):
    def test_ranges_as_ruby_means_them(self):
        for text, wanted in (("~> 3.1", ">=3.1.0 <4.0.0"), ("~> 3.1.2", ">=3.1.2 <3.2.0"), (">= 3.0", ">=3.0"), ("3.1.2", "3.1.2")):
            self.assertEqual(gemfile.range_of(text), wanted)

    def test_gemfile_and_lock(self):
        self.put("Gemfile", "source 'x'\nruby '~> 3.1' # ours\n")
        self.put("Gemfile.lock", "GEM\n  specs:\n    rack (2.2.22)\n    nokogiri (1.16.0-x86_64-linux)\n\nPLATFORMS\n  x64-mingw32\n")
        found = gemfile.Gemfile(self.build, {})
        self.assertEqual(found.ruby_range(), (">=3.1.0 <4.0.0", "ruby in the Gemfile"))
        self.assertEqual(found.gems(), {"rack": "2.2.22", "nokogiri": "1.16.0"})
        self.assertTrue(found.is_windows_lock())


class Php(Folder):
    def test_options(self):
        self.put(".bp-config/options.json", {"PHP_VERSION": "{PHP_82_LATEST}", "PHP_EXTENSIONS": ["gd"], "WEB_SERVER": "nginx"})
        self.put("composer.lock", {"packages": [{"name": "a/b", "require": {"ext-intl": "*"}}]})
        self.put("composer.json", {"require": {"ext-mbstring": "*"}})
        options = php.Options(self.build, {})
        self.assertEqual((options.php_range()[0], options.server), ("8.2.x", "nginx"))
        self.assertEqual(options.extensions(), {"gd", "intl", "mbstring"})
        self.put("composer.json", {"require": {"php": "^8.1"}})
        self.assertEqual(php.Options(self.build, {}).php_range()[0], "^8.1")


class DotNet(Folder):
    def test_kinds(self):
        self.put("a.runtimeconfig.json", {"runtimeOptions": {"framework": {"name": "Microsoft.AspNetCore.App", "version": "8.0.0"}}})
        project = dotnet.Project(self.build, {})
        self.assertEqual((project.kind, project.runtime_range()), ("framework", ("dotnet-aspnetcore", "8.0.x")))
        self.put("a.runtimeconfig.json", {"runtimeOptions": {"includedFrameworks": []}})
        self.assertEqual(dotnet.Project(self.build, {}).kind, "self-contained")

    def test_sdk(self):
        self.put("a.csproj", "<TargetFramework>net9.0</TargetFramework>")
        self.assertEqual(dotnet.Project(self.build, {}).sdk_range()[0], "9.0.x")
        self.put("global.json", '{ // ours\n"sdk": {"version": "8.0.204", "rollForward": "latestFeature",}}')
        self.assertEqual(dotnet.Project(self.build, {}).sdk_range()[0], ">=8.0.204 <8.1.0")


class Nginx(unittest.TestCase):
    def render(self, text, plain=(), environment=None):
        return nginx.render(text, 8080, environment or {}, plain, ["/nowhere"], ["10.0.0.2"], "/t")

    def test_functions(self):
        text, called = self.render('listen {{port}}; a {{env "A"}}; b {{ env "B" }}; resolver {{nameservers}};', ["B"], {"A": "<a>", "B": "<b>"})
        self.assertTrue(text.startswith("listen 8080; a &lt;a&gt;; b <b>; resolver 10.0.0.2;"))
        self.assertEqual(called, {"port", "env", "nameservers"})

    def test_what_is_left_open_does_not_point_to_the_system(self):
        text, _ = self.render("events {}\nhttp { server { listen {{port}}; } }")
        self.assertRegex(text, r"http \{ client_body_temp_path /t/nginx_client_body;.*access_log /dev/stdout; server")
        self.assertIn("daemon off;", text)
        own, _ = self.render("daemon off; pid x;\nhttp { access_log off; }")
        self.assertEqual((own.count("daemon off;"), own.count("pid "), own.count("access_log")), (1, 1, 1))

    def test_mistakes(self):
        for text in ("{{nothing}}", '{{module "none"}}', "{{env}}"):
            with self.assertRaises(nginx.Malformed):
                self.render(text)


class Node(Folder):
    def manager(self, **package):
        self.put("package.json", package)
        return package_json.Package(self.build).manager()

    def test_managers(self):
        self.assertEqual(self.manager(), ("npm", None))
        self.assertEqual(self.manager(packageManager="pnpm@9.1.0+sha512.x"), ("pnpm", "9.1.0"))
        self.put("yarn.lock", "# yarn lockfile v1\n")
        self.assertEqual(self.manager(), ("yarn", None))
        self.put("yarn.lock", "__metadata:\n  version: 8\n")
        self.assertEqual(self.manager(), ("yarn-berry", None))
        self.put("pnpm-lock.yaml", "lockfileVersion: '9.0'\n")
        self.assertEqual(self.manager(), ("pnpm", None))

    def key(self, environment=None, lock_extra=None, **package):
        self.put("package.json", {"name": "a", "dependencies": {"ms": "2.1.3"}, **package})
        self.put("package-lock.json", {"packages": {"": {"name": "a"}, "node_modules/ms": {"version": "2.1.3", **(lock_extra or {})}}})
        with mock.patch.dict("os.environ", environment or {}, clear=True):
            return managers.key_of(SimpleNamespace(build=self.build), package_json.Package(self.build), "node 22")

    def test_what_installed_packages_depend_on(self):
        plain = self.key()
        self.assertEqual(plain, self.key(description="another app", scripts={"start": "node x"}, environment={"COLOUR": "green"}))
        for other in (
            self.key(environment={"NPM_CONFIG_REGISTRY": "https://r"}),
            self.key(environment={"npm_config_registry": "https://r"}),
            self.key(overrides={"ms": "2.0.0"}),
            self.key(lock_extra={"integrity": "sha512-x"}),
        ):
            self.assertNotEqual(plain, other)
        # A script of a package may read anything.
        scripted = self.key(lock_extra={"hasInstallScript": True})
        self.assertNotEqual(scripted, self.key(lock_extra={"hasInstallScript": True}, environment={"COLOUR": "green"}))

    def test_components_of_every_lock(self):
        npm = {"packages": {"": {}, "node_modules/a/node_modules/@b/c": {"version": "1.0.0", "integrity": "sha512-AAAA"}, "node_modules/d": {"version": "1", "dev": True}}}
        self.assertEqual([each["purl"] for each in components.from_npm(json.dumps(npm))], ["pkg:npm/%40b/c@1.0.0"])
        yarn = 'ms@2.1.3, ms@^2.0.0:\n  version "2.1.3"\n  integrity sha512-AAAA\n\n"@a/b@1":\n  version "1.0.0"\n'
        self.assertEqual([each["purl"] for each in components.from_yarn(yarn)], ["pkg:npm/ms@2.1.3", "pkg:npm/%40a/b@1.0.0"])
        berry = '__metadata:\n\n"ms@npm:2.1.3":\n  version: 2.1.3\n  resolution: "ms@npm:2.1.3"\n'
        self.assertEqual([each["purl"] for each in components.from_yarn(berry)], ["pkg:npm/ms@2.1.3"])
        pnpm = "importers:\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: sha512-AAAA}\n\n  '@a/b@1.0.0(c@2.0.0)':\n    resolution: {integrity: sha512-AAAA}\n"
        self.assertEqual([each["purl"] for each in components.from_pnpm(pnpm)], ["pkg:npm/ms@2.1.3", "pkg:npm/%40a/b@1.0.0"])


class Python(Folder):
    def test_uv_follows_what_the_app_needs(self):
        self.put("pyproject.toml", "[project]\nname='a'\n")
        self.put(
            "uv.lock",
            'version = 1\n[[package]]\nname = "a"\nsource = { virtual = "." }\ndependencies = [{ name = "b", extra = ["x"] }, '
            '{ name = "win", marker = "sys_platform == \'win32\'" }]\n'
            '[[package]]\nname = "b"\nversion = "1.0"\nsource = { registry = "r" }\nsdist = { url = "u", hash = "sha256:1" }\n'
            '[package.optional-dependencies]\nx = [{ name = "c" }]\n'
            '[[package]]\nname = "c"\nversion = "2.0"\nsource = { registry = "r" }\n'
            '[[package]]\nname = "win"\nversion = "3.0"\nsource = { registry = "r" }\n'
            '[[package]]\nname = "dev"\nversion = "4.0"\nsource = { registry = "r" }\n',
        )
        self.assertEqual(locked.find(self.build).lines, ["b==1.0 --hash=sha256:1", "c==2.0"])

    def test_poetry_with_and_without_groups(self):
        self.put("pyproject.toml", "[tool.poetry.dependencies]\npython = '^3.10'\nB_b = '*'\n")
        old = '[[package]]\nname = "b-b"\nversion = "1.0"\nfiles = [{file = "f", hash = "sha256:1"}]\n[package.dependencies]\nc = ">1"\n'
        old += '[[package]]\nname = "c"\nversion = "2.0"\n[[package]]\nname = "dev"\nversion = "3.0"\n'
        self.put("poetry.lock", old)
        self.assertEqual(locked.find(self.build).lines, ["b-b==1.0 --hash=sha256:1", "c==2.0"])
        self.put("poetry.lock", '[[package]]\nname = "b"\nversion = "1.0"\ngroups = ["main"]\n[[package]]\nname = "d"\nversion = "1.0"\ngroups = ["dev"]\n')
        self.assertEqual(locked.find(self.build).lines, ["b==1.0"])


class Bom(Folder):
    def test_sorted_and_the_same_each_time(self):
        staging = SimpleNamespace(own=self.build / "deps")
        one, two = bom.library("npm", "b", "1", ["sha512-" + "A" * 86 + "==", "sha1:tooshort", "unknown"]), bom.library("maven", "a", "1", ["sha1:" + "0f" * 20], "org.x")
        bom.add(staging, one)
        bom.add(staging, two, one)
        found = json.loads((staging.own / "bom.json").read_text())["components"]
        self.assertEqual([each["purl"] for each in found], ["pkg:maven/org.x/a@1", "pkg:npm/b@1"])
        self.assertEqual(found[1]["hashes"], [{"alg": "SHA-512", "content": "0" * 128}])
        before = (staging.own / "bom.json").read_bytes()
        bom.add(staging, two)
        self.assertEqual((staging.own / "bom.json").read_bytes(), before)

    def test_the_system_that_the_app_runs_on(self):
        self.put("os-release", 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n')
        found = bom.stack({"CF_STACK": "cflinuxfs4"}, self.build / "os-release")
        self.assertEqual((found["type"], found["purl"]), ("operating-system", "pkg:generic/debian@12"))
        self.assertEqual(found["properties"], [{"name": "bloomery:stack", "value": "cflinuxfs4"}])
        self.assertEqual(bom.stack({}, self.build / "none")["purl"], "pkg:generic/linux@0")
        self.assertEqual(bom.of_stack("nginx", "1.22.1")["type"], "platform")


if __name__ == "__main__":
    unittest.main()
