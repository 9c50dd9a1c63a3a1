# Fragments memory and lets the kernel compact it: maps 160 MiB, gives every second page back, and shows zone DMA32 before and after.
import mmap

SIZE, PAGE = 160 << 20, 4096


def show():
    for path in ("/proc/buddyinfo", "/sys/kernel/debug/extfrag/unusable_index"):
        print(next(line.strip() for line in open(path) if "DMA32" in line), flush=True)


memory = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for at in range(0, SIZE, PAGE):
    memory[at] = 1
for at in range(0, SIZE, 2 * PAGE):
    memory.madvise(mmap.MADV_DONTNEED, at, PAGE)
show()
with open("/proc/sys/vm/compact_memory", "w") as f:
    f.write("1")
show()
for line in open("/proc/vmstat"):
    if line.startswith(("pgmigrate_", "compact_migrate_", "compact_free_", "compact_isolated")):
        print(line.strip())
