#!/usr/bin/env python3
"""Layers point down: fails when a file includes a header of a layer above its own, or a library that belongs to one file alone.

usage: check_includes.py ROOT
"""
import pathlib
import re
import sys

LAYERS = ["base", "hw", "mm", "fs", "kernel", "syscalls", "machine", "report", "lab", "cli"]
RANK = {name: i for i, name in enumerate(LAYERS)}
# Libraries that only the named files may include.
OWNED = {"unicorn/": ["src/hw/unicorn_*"], "capstone/": ["src/hw/disassembler.cpp"]}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)


def layer_of(path):
    parts = path.parts
    if parts[0] == "src":
        return parts[1]
    if parts[:2] == ("include", "vitro"):
        return parts[2]
    return None


def main(root):
    root = pathlib.Path(root)
    bad = []
    seen = 0
    for path in sorted(p for d in ("src", "include") for p in (root / d).rglob("*") if p.suffix in (".h", ".cpp")):
        relative = path.relative_to(root)
        layer = layer_of(relative)
        if layer not in RANK:
            bad.append(f"{relative}: no such layer; the layers are {', '.join(LAYERS)}")
            continue
        for header in INCLUDE.findall(path.read_text()):
            seen += 1
            match = re.match(r"vitro/(\w+)/", header) or re.match(r"(\w+)/", header)
            target = match.group(1) if match else None
            if target in RANK and RANK[target] > RANK[layer]:
                bad.append(f"{relative}: layer {layer} includes {header} of layer {target}, which is above it")
            for library, owners in OWNED.items():
                if header.startswith(library) and not any(relative.match(owner) for owner in owners):
                    bad.append(f"{relative}: only {', '.join(owners)} may include {header}")
    for line in bad:
        print(line)
    if seen == 0:
        print("found no #include to check: is this the root of the checkout?")
        return 1
    print(f"{seen} includes, {len(bad)} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "."))
