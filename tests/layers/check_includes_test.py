#!/usr/bin/env python3
"""The layer checker itself: it must refuse an include that points up and accept one that points down."""
import pathlib
import subprocess
import sys
import tempfile

CHECKER = pathlib.Path(__file__).with_name("check_includes.py")


def check(files):
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return subprocess.run([sys.executable, CHECKER, root], capture_output=True, text=True)


down = check({"src/mm/a.cpp": '#include "vitro/hw/ram.h"\n'})
assert down.returncode == 0, down.stdout
up = check({"src/hw/a.cpp": '#include "vitro/mm/frame.h"\n'})
assert up.returncode == 1 and "src/hw/a.cpp" in up.stdout, up.stdout
private = check({"src/hw/a.cpp": '#include "mm/frame.h"\n'})
assert private.returncode == 1, private.stdout
owned = check({"src/hw/other.cpp": "#include <unicorn/unicorn.h>\n"})
assert owned.returncode == 1 and "unicorn_*" in owned.stdout, owned.stdout
unknown = check({"src/misc/a.cpp": '#include "vitro/hw/ram.h"\n'})
assert unknown.returncode == 1, unknown.stdout
empty = check({})
assert empty.returncode == 1, empty.stdout
print("ok")
