"""The keys of a Staticfile."""
from bloomery import log, yaml_file


def is_on(value, word):
    return value is True or str(value).lower() in (word, "true")


class Staticfile:
    def __init__(self, path, environment):
        found = yaml_file.read_map(path)
        self.root = str(found.get("root") or "").strip("/")
        self.directory = is_on(found.get("directory"), "visible")
        self.ssi = is_on(found.get("ssi"), "enabled")
        self.pushstate = is_on(found.get("pushstate"), "enabled")
        self.hsts = is_on(found.get("http_strict_transport_security"), "true")
        self.hsts_subdomains = is_on(found.get("http_strict_transport_security_include_subdomains"), "true")
        self.hsts_preload = is_on(found.get("http_strict_transport_security_preload"), "true")
        self.force_https = is_on(found.get("force_https"), "true") or bool(environment.get("FORCE_HTTPS"))
        self.dot_files = is_on(found.get("host_dot_files"), "true")
        self.location_include = str(found.get("location_include") or "")
        self.http2 = is_on(found.get("enable_http2"), "true") or bool(environment.get("ENABLE_HTTP2"))
        self.status_codes = self._status_codes(found.get("status_codes"))
        if not self.hsts and (self.hsts_subdomains or self.hsts_preload):
            log.warning("http_strict_transport_security is not enabled, so its _include_subdomains and _preload have no effect")

    @staticmethod
    def _status_codes(found):
        if found is None:
            return {}
        if not isinstance(found, dict):
            log.fail("status_codes in Staticfile must be a map, as in  status_codes: {404: /404.html}")
        codes = {}
        for code, page in found.items():
            numbers = {"4xx": [str(n) for n in range(400, 452)], "5xx": [str(n) for n in range(500, 512)]}.get(str(code), [str(code)])
            if not all(number.isdigit() and 300 <= int(number) <= 599 for number in numbers) or any(c in str(page) for c in " ;{}\n"):
                log.fail(f"status_codes in Staticfile: {code}: {page} is not a status code and a page")
            codes.update({number: str(page) for number in numbers})
        return codes
