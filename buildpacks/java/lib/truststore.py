"""A Java key store of trusted certificates, from files in PEM form. Also used at each start: it needs nothing but Python's standard library."""
import base64
import hashlib
import os
import re
import struct

PASSWORD = "changeit"
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def system_files(environment=os.environ):
    """The stack's own authorities, and those that the operator has added."""
    folder = environment.get("CF_SYSTEM_CERT_PATH", "/etc/cf-system-certificates")
    added = sorted(os.path.join(folder, name) for name in os.listdir(folder)) if os.path.isdir(folder) else []
    return [path for path in [environment.get("SSL_CERT_FILE") or BUNDLE, *added] if os.path.isfile(path)]


def write(path, files):
    certificates = {}
    for name in files:
        with open(name, encoding="ascii", errors="replace") as source:
            for body in CERTIFICATE.findall(source.read()):
                certificates[base64.b64decode(body)] = None
    parts = [struct.pack(">III", 0xFEEDFEED, 2, len(certificates))]
    for number, certificate in enumerate(certificates):
        parts += [struct.pack(">I", 2), text(f"authority-{number}"), struct.pack(">Q", 0), text("X.509"), struct.pack(">I", len(certificate)), certificate]
    body = b"".join(parts)
    digest = hashlib.sha1(PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + body).digest()
    partial = f"{path}.new"
    with open(partial, "wb") as sink:
        sink.write(body + digest)
    os.replace(partial, path)


def text(value):
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded
