import sys
import unittest

from buildpack_paths import BUILDPACKS

sys.path.insert(0, str(BUILDPACKS.parent / "apps" / "stager" / "lifecycle"))
import droplet  # noqa: E402


class Packed(unittest.TestCase):
    def is_waited_for(self, name, source):
        return droplet.is_packed_by_platform(droplet.Folder("/x", f"./deps/{name}", "runtimes", source, None))

    def test_a_runtime_is_waited_for_where_the_platform_packs_it(self):
        for name in ("node", "yarn", "yarn-berry", "dotnet-runtime"):
            self.assertTrue(self.is_waited_for(f"0/{name}", f"{name}-4.9.1-x64-79508aa4cc1d7786"))

    def test_and_not_where_nobody_does(self):
        for name, source in (("0/yarn", "yarn-berry-4.9.1-x64-a"), ("0/dotnet", "dotnet-runtime-3.1.23-x64-a"), ("0/jdk", "jre-17.0.9-x64-a"), ("1/node", "node-22.1.0-x64-a")):
            self.assertFalse(self.is_waited_for(name, source))


if __name__ == "__main__":
    unittest.main()
