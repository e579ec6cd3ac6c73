"""Lines in the style that users know from Cloud Foundry's buildpacks."""
import sys


def step(text):
    print(f"-----> {text}", flush=True)


def info(text):
    for line in str(text).splitlines():
        print(f"       {line}", flush=True)


def warning(text):
    first, *rest = str(text).splitlines() or [""]
    print(f"       **WARNING** {first}", flush=True)
    for line in rest:
        print(f"       {line}", flush=True)


def fail(text):
    """Says what is wrong and ends the script, and with it the staging."""
    first, *rest = str(text).splitlines() or [""]
    print(f"       **ERROR** {first}", file=sys.stderr, flush=True)
    for line in rest:
        print(f"       {line}", file=sys.stderr, flush=True)
    sys.exit(1)
