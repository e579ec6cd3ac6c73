"""How a JVM divides its memory, as Cloud Foundry's Java buildpack reckons. Used at each start: nothing but Python's standard library.

All sizes are bytes.
"""
import re

KIB, MIB = 1024, 1024 * 1024
UNITS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB}
DIRECT = 10 * MIB
CODE_CACHE = 240 * MIB
STACK = MIB
THREADS = 250
CLASS_BYTES = 5800
CLASS_BASE = 14_000_000
JRE_CLASSES = 42_215
LOADED_SHARE = 0.35
FLAGS = {
    "direct": "-XX:MaxDirectMemorySize=",
    "metaspace": "-XX:MaxMetaspaceSize=",
    "code": "-XX:ReservedCodeCacheSize=",
    "stack": "-Xss",
    "heap": "-Xmx",
}


class TooSmall(Exception):
    """The text is for the user."""


def size_of(value):
    match = re.fullmatch(r"(\d+)([bkmgt]?)b?", value.strip().lower())
    if not match:
        raise ValueError(f"{value!r} is not a size; write for example 512M")
    return int(match.group(1)) * UNITS[match.group(2)]


def shown(size):
    return f"{size // MIB}M" if size % MIB == 0 else f"{size // KIB}K"


def given_in(java_opts):
    """The parts that the user has set."""
    found = {}
    for word in java_opts.split():
        for part, flag in FLAGS.items():
            if word.startswith(flag):
                found[part] = size_of(word[len(flag):])
    return found


def loaded_classes(app_classes):
    return int(LOADED_SHARE * (app_classes + JRE_CLASSES))


def divide(total, classes, threads=THREADS, headroom=0, java_opts=""):
    """The options that the user has not given. `classes`: how many get loaded. `headroom`: percent left to others. Throws TooSmall."""
    given = given_in(java_opts)
    parts = {
        "direct": DIRECT,
        "metaspace": (CLASS_BYTES * classes + CLASS_BASE) // KIB * KIB,
        "code": CODE_CACHE,
        "stack": STACK,
        **given,
    }
    reserved = total * headroom // 100
    fixed = parts["direct"] + parts["metaspace"] + parts["code"] + parts["stack"] * threads + reserved
    names = ", ".join(f"{FLAGS[name]}{shown(parts[name])}" for name in ("direct", "metaspace", "code"))
    listing = f"{names}, {FLAGS['stack']}{shown(parts['stack'])} * {threads} threads" + (f", {headroom} % headroom" if headroom else "")
    heap = parts.get("heap")
    if fixed + (heap or 0) >= total + (1 if heap else 0):
        allocated = fixed + (heap or 0)
        heap_text = f", {FLAGS['heap']}{shown(heap)}" if heap else ", and nothing is left for the heap"
        least = (allocated + (0 if heap else 64 * MIB) + 64 * MIB - 1) // (64 * MIB) * 64
        raise TooSmall(
            f"Cannot calculate JVM memory configuration: allocated memory {shown(allocated // KIB * KIB)} is greater than {shown(total)} "
            f"available for allocation: {listing}{heap_text}.\n"
            f"Give the app at least {least}M (cf scale APP -m {least}M), or let it reserve less: "
            "cf set-env APP JBP_CONFIG_OPEN_JDK_JRE '{memory_calculator: {stack_threads: 50}}', "
            "or -XX:ReservedCodeCacheSize=120M in JAVA_OPTS; then restart."
        )
    if heap is None:
        parts["heap"] = (total - fixed) // KIB * KIB
    order = ("direct", "heap", "metaspace", "code", "stack")
    return [f"{FLAGS[name]}{shown(parts[name])}" for name in order if name not in given]
