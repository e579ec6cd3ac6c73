import json
import os
import tempfile
import unittest
from pathlib import Path

from buildpack_paths import load

supply = load("nodejs", "nodejs_supply")
addresses = load("nodejs", "npm_addresses")


class Settings(unittest.TestCase):
    """Whose settings count: the app's files before the machine's, and variables that the app was given before both."""

    def left(self, files, environment):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name).write_text(text)
            supply.give_way(Path(folder), environment)
        return sorted(name for name in environment if name != "BLOOMERY_CLIENT_SETTINGS")

    def test_the_apps_own_registry(self):
        def machine():
            return {
                "NPM_CONFIG_REGISTRY": "https://machine",
                "NPM_CONFIG_FETCH_RETRIES": "2",
                "npm_config_@own:registry": "https://own",
                "BLOOMERY_CLIENT_SETTINGS": "NPM_CONFIG_FETCH_RETRIES NPM_CONFIG_REGISTRY npm_config_@own:registry",
            }

        self.assertEqual(len(self.left({}, machine())), 3)
        self.assertEqual(len(self.left({".npmrc": "# registry=https://a\nsave-exact=true\n"}, machine())), 3)
        self.assertEqual(self.left({".npmrc": "registry=https://a\nfetch-retries = 0\n"}, machine()), ["npm_config_@own:registry"])
        self.assertEqual(self.left({".npmrc": "@own:registry=https://a\n"}, machine()), ["NPM_CONFIG_FETCH_RETRIES", "NPM_CONFIG_REGISTRY"])
        for files in ({".yarnrc.yml": "npmRegistryServer: https://a\n"}, {".yarnrc": 'registry "https://a"\n'}):
            self.assertNotIn("NPM_CONFIG_REGISTRY", self.left(files, machine()))

    def test_a_variable_of_the_app_stays(self):
        given = {"NPM_CONFIG_REGISTRY": "https://app", "BLOOMERY_CLIENT_SETTINGS": ""}
        self.assertEqual(self.left({".npmrc": "registry=https://a\n"}, given), ["NPM_CONFIG_REGISTRY"])


class Addresses(unittest.TestCase):
    """Where npm finds packages of a lock that names no addresses."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.build = Path(folder.name)
        self.lock = self.build / "package-lock.json"
        self.npmrc = self.build / ".npmrc"

    def write(self, packages):
        self.lock.write_text(json.dumps({"lockfileVersion": 3, "packages": {"": {"name": "app"}, **packages}}))

    def ask(self):
        return "https://own.example/\n"

    def added(self, environment=None):
        found = addresses.guess(self.lock, self.npmrc, self.ask, environment or {})
        return sorted(found.added) if found else []

    def test_each_package_with_a_checksum_has_one(self):
        self.write({
            "node_modules/ms": {"version": "2.1.3", "integrity": "sha512-x"},
            "node_modules/a/node_modules/@own/b": {"version": "1.0.0-rc.1", "integrity": "sha512-x"},
            "node_modules/alias": {"name": "real", "version": "3.0.0", "integrity": "sha512-x"},
        })
        self.assertEqual(self.added(), [
            "https://own.example/@own/b/-/b-1.0.0-rc.1.tgz",
            "https://own.example/ms/-/ms-2.1.3.tgz",
            "https://own.example/real/-/real-3.0.0.tgz",
        ])
        self.assertIn("http://mirror:1/npm/ms/-/ms-2.1.3.tgz", self.added({"NPM_CONFIG_REGISTRY": "http://mirror:1/npm/"}))

    def test_all_others_are_left_to_npm(self):
        whole = {"version": "1.0.0", "integrity": "sha512-x"}
        self.write({
            "node_modules/unchecked": {"version": "1.0.0"},
            "node_modules/addressed": {**whole, "resolved": "https://a/b.tgz"},
            "node_modules/carried": {**whole, "inBundle": True},
            "node_modules/linked": {"resolved": "packages/linked", "link": True},
            "packages/linked": whole,
            "node_modules/odd": {**whole, "version": "../1"},
        })
        self.assertEqual(self.added(), [])

    def test_none_where_the_app_says_where_packages_are(self):
        self.write({"node_modules/ms": {"version": "2.1.3", "integrity": "sha512-x"}})
        for line in ("registry=https://a", "@own:registry = https://a", "replace-registry-host=always"):
            self.npmrc.write_text(f"save-exact=true\n{line}\n")
            self.assertEqual(self.added(), [], line)
        self.npmrc.write_text("# registry=https://a\n//own.example/:_authToken=x\n")
        self.assertEqual(len(self.added()), 1)
        self.assertEqual(self.added({"npm_config_@own:registry": "https://a"}), [])
        self.assertIsNone(addresses.guess(self.lock, self.npmrc, lambda: "", {}))
        self.lock.write_text('{"lockfileVersion": 1, "dependencies": {}}')
        self.assertEqual(self.added(), [])

    def test_lock_and_notes_are_as_without(self):
        self.write({"node_modules/ms": {"version": "2.1.3", "integrity": "sha512-x"}})
        os.utime(self.lock, (1_000_000_000, 1_000_000_000))
        before = self.lock.read_bytes()
        with self.assertRaises(RuntimeError), addresses.guess(self.lock, self.npmrc, self.ask, {}) as found:
            self.assertIn("ms-2.1.3.tgz", self.lock.read_text())
            raise RuntimeError
        self.assertEqual((self.lock.read_bytes(), self.lock.stat().st_mtime), (before, 1_000_000_000))
        self.assertEqual([path.name for path in self.build.iterdir()], ["package-lock.json"])
        other = '      "resolved": "https://a/b.tgz",\n'
        noted = self.build / ".package-lock.json"
        noted.write_text(f'{{\n      "resolved": "https://own.example/ms/-/ms-2.1.3.tgz",\n{other}}}\n')
        found.forget(self.build)
        self.assertEqual(noted.read_text(), f"{{\n{other}}}\n")


if __name__ == "__main__":
    unittest.main()
