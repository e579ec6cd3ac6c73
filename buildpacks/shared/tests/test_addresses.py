import base64
import contextlib
import http.server
import io
import os
import subprocess
import sys
import tempfile
import threading
import unittest
import zipfile
from pathlib import Path
from unittest import mock

from buildpack_paths import BUILDPACKS

sys.path.insert(0, str(BUILDPACKS.parent / "apps" / "stager" / "lifecycle"))
import addresses  # noqa: E402


def archive(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as opened:
        for name, text in files.items():
            opened.writestr(name, text)
    return made.getvalue()


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        status, headers, body = self.server.answers[self.path]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Addresses(unittest.TestCase):
    """Buildpacks named by address."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.target = Path(folder.name) / "made" / "buildpack"
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.server.answers, self.server.seen = {}, []
        self.addCleanup(self.server.server_close)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.shutdown)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        # Machines that stage apps may have a proxy; nothing here is for it.
        without = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        patched = mock.patch.dict(os.environ, without, clear=True)
        patched.start()
        self.addCleanup(patched.stop)

    def bring(self, url):
        """What is printed, and what it failed for."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            try:
                self.done = addresses.download_buildpack(url, self.target)
                return printed.getvalue()
            except addresses.SourceError as error:
                return f"{printed.getvalue()}{error}"

    def test_user_and_password_are_sent_and_never_printed(self):
        self.server.answers["/bp.zip"] = (200, {}, archive(detect="x"))
        printed = self.bring(f"http://joe:s3c%40ret@{self.host}/bp.zip")
        self.assertEqual((self.target / "detect").read_text(), "x")
        self.assertIn(f"Downloading buildpack `http://***@{self.host}/bp.zip`...", printed)
        self.assertNotIn("s3c", printed)
        self.assertEqual(self.server.seen, [("/bp.zip", "Basic " + base64.b64encode(b"joe:s3c@ret").decode())])

    def test_they_do_not_follow_to_another_address(self):
        self.server.answers["/bp.zip"] = (302, {"Location": f"http://{self.host}/other.zip"}, b"")
        self.server.answers["/other.zip"] = (200, {}, archive(detect="x"))
        self.bring(f"http://joe:secret@{self.host}/bp.zip")
        self.assertEqual([login is None for _, login in self.server.seen], [False, True])

    def test_whatever_is_wrong_is_told_with_the_address(self):
        whole = archive(detect="x")
        encrypted = bytearray(whole)
        encrypted[6] |= 1
        encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
        for name, answer, reason in [
            ("gone", (404, {}, b""), "HTTP Error 404: Not Found"),
            ("text", (200, {}, b"no zip at all"), "File is not a zip file"),
            ("short", (200, {"Content-Length": "9999"}, whole), f"the connection ended after {len(whole)} of 9999 bytes"),
            ("out", (200, {}, archive(**{"../../x": "y"})), "The archive holds a name that leads out of it: '../../x'"),
            ("encrypted", (200, {}, bytes(encrypted)), "File <ZipInfo filename='detect'"),
        ]:
            with self.subTest(name):
                self.server.answers["/bp.zip"] = answer
                printed = self.bring(f"http://joe:secret@{self.host}/bp.zip")
                self.assertIn(f"Failed to download buildpack 'http://***@{self.host}/bp.zip': {reason}", printed)
                self.assertNotIn("secret", printed)
                self.assertFalse(Path(f"{self.target}.zip").exists())

    def test_git_that_hears_nothing_is_not_asked_twice_and_gives_no_address_away(self):
        asked = []

        def silent(command, **options):
            asked.append(options["env"]["GIT_HTTP_LOW_SPEED_TIME"])
            raise subprocess.TimeoutExpired(command, options["timeout"])

        with mock.patch.object(addresses.subprocess, "run", silent), mock.patch.object(addresses.shutil, "which", lambda _: "git"):
            printed = self.bring("https://joe:secret@example.com/bp.git#main")
        self.assertEqual(asked, ["60"])
        self.assertIn("git took longer than 600 s\nFailed to clone git repository at https://***@example.com/bp.git", printed)
        self.assertNotIn("secret", printed)


if __name__ == "__main__":
    unittest.main()
