import tempfile
import unittest
import zipfile
from pathlib import Path
from unittest import mock

from buildpack_paths import load

memory = load("java", "java_memory")
app = load("java", "java_app")
java_home = load("java", "java_home")
MIB = 1024 * 1024


class Memory(unittest.TestCase):
    def test_the_heap_is_what_is_left(self):
        parts = memory.divide(1024 * MIB, 18_000)
        self.assertEqual(parts[0], "-XX:MaxDirectMemorySize=10M")
        heap = memory.size_of(next(each for each in parts if each.startswith("-Xmx"))[4:])
        fixed = 10 * MIB + 240 * MIB + 250 * MIB + (5800 * 18_000 + 14_000_000) // 1024 * 1024
        self.assertEqual(heap, (1024 * MIB - fixed) // 1024 * 1024)

    def test_what_the_user_gives_is_kept_and_not_printed(self):
        parts = memory.divide(512 * MIB, 10_000, java_opts="-Xss512k -XX:ReservedCodeCacheSize=64m -Dx=y")
        self.assertFalse([each for each in parts if each.startswith(("-Xss", "-XX:ReservedCodeCacheSize"))])
        self.assertTrue([each for each in parts if each.startswith("-Xmx")])

    def test_too_little_is_said_with_all_parts_and_what_would_do(self):
        with self.assertRaises(memory.TooSmall) as caught:
            memory.divide(512 * MIB, 14_775 + 5_000)
        text = str(caught.exception)
        self.assertIn("is greater than 512M available for allocation", text)
        for part in ("-XX:MaxDirectMemorySize=10M", "-XX:MaxMetaspaceSize=", "-XX:ReservedCodeCacheSize=240M", "-Xss1M * 250 threads"):
            self.assertIn(part, text)
        least = int(text.split("at least ")[1].split("M")[0])
        self.assertTrue(memory.divide(least * MIB, 14_775 + 5_000))

    def test_a_heap_of_the_users_must_fit_as_well(self):
        with self.assertRaises(memory.TooSmall):
            memory.divide(1024 * MIB, 10_000, java_opts="-Xmx900m")
        self.assertTrue(memory.divide(1024 * MIB, 10_000, java_opts="-Xmx200m"))

    def test_headroom_and_threads(self):
        one = memory.divide(2048 * MIB, 10_000)
        two = memory.divide(2048 * MIB, 10_000, threads=50, headroom=10)
        self.assertAlmostEqual(size(two) - size(one), 200 * MIB - 2048 * MIB * 10 // 100, delta=2048)

    def test_sizes(self):
        self.assertEqual([memory.size_of(each) for each in ("1g", "512M", "2048k", "7")], [1024 * MIB, 512 * MIB, 2 * MIB, 7])
        with self.assertRaises(ValueError):
            memory.size_of("much")


def size(parts):
    return memory.size_of(next(each for each in parts if each.startswith("-Xmx"))[4:])


class Homes(unittest.TestCase):
    """Which Java is there, without starting it where it carries a note."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name).resolve()
        (self.home / "bin").mkdir()
        path = mock.patch.dict("os.environ", {"PATH": f"{self.home / 'bin'}:/usr/bin:/bin"})
        path.start()
        self.addCleanup(path.stop)

    def program(self, name, prints):
        at = self.home / "bin" / name
        at.write_text(f"#!/bin/sh\ncat <<'END'\n{prints}\nEND\n")
        at.chmod(0o755)

    def test_by_its_note(self):
        self.program("java", "nothing that tells")
        (self.home / "release").write_text('IMPLEMENTOR="Debian"\nJAVA_RUNTIME_VERSION="17.0.21+9"\nJAVA_VERSION="17.0.21"\n')
        self.assertEqual(java_home.java_of("java"), (self.home, "17.0.21"))

    def test_by_what_it_prints(self):
        self.program("java", 'Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "1.8.0_392"')
        self.assertEqual(java_home.java_of("java"), (self.home, "1.8.0"))
        self.program("javac", "Picked up JAVA_TOOL_OPTIONS: -Xmx1g\njavac 21.0.1")
        self.assertEqual(java_home.java_of("javac"), (self.home, "21.0.1"))
        self.program("javac", "no version")
        self.assertEqual(java_home.java_of("javac"), (None, None))

    def test_lines(self):
        self.assertEqual([java_home.line_of(each) for each in ("17.0.9", "1.8.0", "21")], [17, 8, 21])


class Kinds(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.build = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def put(self, name, text=""):
        path = self.build / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def jar(self, name, manifest):
        with zipfile.ZipFile(self.build / name, "w") as sink:
            sink.writestr("META-INF/MANIFEST.MF", manifest)

    def kind(self, environment=None):
        found = app.find_app(self.build, environment or {})
        return found and found.kind

    def test_nothing(self):
        self.put("file.txt")
        self.assertIsNone(self.kind())

    def test_boot_unpacked_with_a_folded_line(self):
        self.put("BOOT-INF/classes/x")
        self.put("META-INF/MANIFEST.MF", "Main-Class: org.springframework.boot.loader.lau\r\n nch.JarLauncher\r\nSpring-Boot-Version: 3.5.0\r\n")
        found = app.find_app(self.build, {})
        self.assertEqual((found.kind, found.main, found.boot), ("boot", "org.springframework.boot.loader.launch.JarLauncher", "3.5.0"))

    def test_war_and_web_inf(self):
        self.jar("shop.war", "Manifest-Version: 1.0\n")
        self.assertEqual(self.kind(), "tomcat")
        self.put("WEB-INF/web.xml")
        self.assertEqual(self.kind(), "tomcat")

    def test_jars(self):
        self.jar("lib.jar", "Manifest-Version: 1.0\n")
        self.assertIsNone(self.kind())
        self.jar("main.jar", "Main-Class: a.B\n")
        self.assertEqual(self.kind(), "jar")

    def test_dist_one_level_down(self):
        self.put("app-1.0/bin/app.bat", "@rem")
        self.put("app-1.0/bin/app", "#!/usr/bin/env sh\n")
        self.put("app-1.0/lib/a.jar")
        self.assertEqual(self.kind(), "dist")

    def test_source_and_a_named_main_class(self):
        self.put("pom.xml", "<project/>")
        self.assertEqual(self.kind(), "maven")
        self.assertEqual(self.kind({"JBP_CONFIG_JAVA_MAIN": '{"java_main_class": "a.B"}'}), "main")


if __name__ == "__main__":
    unittest.main()
