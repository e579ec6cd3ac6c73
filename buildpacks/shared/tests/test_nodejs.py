import tempfile
import unittest
from pathlib import Path

from buildpack_paths import load

supply = load("nodejs", "nodejs_supply")


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


if __name__ == "__main__":
    unittest.main()
