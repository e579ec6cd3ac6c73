import gzip
import io
import os
import random
import sys
import tarfile
import tempfile
import unittest
from pathlib import Path

from buildpack_paths import BUILDPACKS

sys.path.insert(0, str(BUILDPACKS.parent / "apps" / "stager" / "lifecycle"))
import droplet  # noqa: E402

MIB = 1 << 20


class Members(unittest.TestCase):
    """What is compressed once and copied from then on."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.contents = self.root / "contents"
        self.noise = random.Random(1)
        (self.contents / "deps" / "0").mkdir(parents=True)
        for name in ("a.jar", "b.jar"):
            self.write(f"app/BOOT-INF/lib/{name}", 3 * MIB)
        self.write("app/BOOT-INF/classes/App.class", 1000)
        self.write("app/BOOT-INF/index", 10)
        self.write("app/META-INF/MANIFEST.MF", 10)

    def write(self, name, size):
        path = self.contents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.noise.randbytes(size))
        os.utime(path, (1_000_000_000, 1_000_000_000))

    def pack(self):
        output = self.root / "droplet.tar.gz"
        self.assertEqual(droplet.pack(self.contents, output, self.root / "members", self.root), [])
        return output.read_bytes()

    def members(self):
        return {path.name: path.stat().st_ino for path in (self.root / "members").glob("*.gz")}

    def test_the_archive_is_whole_and_folders_come_first(self):
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(self.pack()))) as archive:
            names = archive.getnames()
            for name in names:
                if name.startswith("./app/"):
                    self.assertIn(os.path.dirname(name), names[: names.index(name)])
            for path in self.contents.rglob("*"):
                member = archive.getmember("./" + str(path.relative_to(self.contents)))
                if path.is_file():
                    self.assertEqual(archive.extractfile(member).read(), path.read_bytes())
            self.assertEqual(len(names), len(set(names)))

    def test_libraries_are_not_compressed_again_for_a_class(self):
        first = self.pack()
        self.assertEqual(first, self.pack())
        before = self.members()
        self.assertEqual(len(before), 1)
        self.write("app/BOOT-INF/classes/App.class", 1001)
        self.assertNotEqual(first, self.pack())
        self.assertEqual(self.members(), before)
        self.write("app/BOOT-INF/lib/a.jar", 3 * MIB)
        self.pack()
        self.assertEqual(len(set(self.members()) - set(before)), 1)

    def test_what_is_compressed_is_taken_as_it_is(self):
        entries = droplet.tree(self.contents / "app", "./app")
        self.assertEqual(droplet.level_of(entries), 0)
        self.write("app/public/data.txt", MIB)
        self.assertEqual(droplet.level_of(droplet.tree(self.contents / "app", "./app")), 1)
        # Small ones are quick anyway.
        self.assertEqual(droplet.level_of([each for each in entries if "/META-INF" in each.name]), 1)


if __name__ == "__main__":
    unittest.main()
