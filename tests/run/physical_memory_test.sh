# Physical memory as a guest sees it: settings that can be written, page-table isolation, high memory, compaction on demand.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
run() { "$vitro" run --mmu fast --verify full "$@"; }
equal "min_free_kbytes moves the watermarks" "$(printf '8192\n8192')" \
  "$(run --ram 256M -- $bb sh -c 'echo 8192 >/proc/sys/vm/min_free_kbytes; cat /proc/sys/vm/min_free_kbytes; awk "/^ +min /{s+=\$2} END{print int((s*4+7)/8)*8}" /proc/zoneinfo')"
equal "lowmem_reserve_ratio" "$(printf '128\t256\t32\t0\t0')" "$(run -- $bb sh -c 'echo 128 >/proc/sys/vm/lowmem_reserve_ratio; cat /proc/sys/vm/lowmem_reserve_ratio')"
equal "settings out of range are refused" "500" "$(run -- $bb sh -c 'echo 1001 >/proc/sys/vm/extfrag_threshold; cat /proc/sys/vm/extfrag_threshold' 2>/dev/null)"
equal "compact_memory scans" "yes" "$(run -- $bb sh -c 'echo 1 >/proc/sys/vm/compact_memory; awk "/^compact_migrate_scanned/{print (\$2>0)?\"yes\":\"no\"}" /proc/vmstat')"
equal "kernel stacks lie in vmalloc" "yes" "$(run -- $bb sh -c 'grep -q "20480 kernel_clone pages=4 vmalloc" /proc/vmallocinfo && echo yes')"
for pti in on off; do run --pti $pti --stats-json "$scratch/$pti" -- $bb sh -c 'echo one | cat' >"$scratch/out"; equal "output with --pti $pti" one "$(cat "$scratch/out")"; done
check "isolation costs page tables" test "$(json "$scratch/on" 'j["frames"]["page_table"]')" -gt "$(json "$scratch/off" 'j["frames"]["page_table"]')"
check "and CR3 switches" test "$(json "$scratch/on" 'j["isolation"]["cr3_switches"]')" -gt 100
for mode in exact trap; do "$vitro" run --mmu $mode --pti on --stats-json "$scratch/$mode" -- $bb ls / >"$scratch/out"; done
equal "isolation takes the same time in every mode" "$(json "$scratch/exact" 'j["virtual_ns"]')" "$(json "$scratch/trap" 'j["virtual_ns"]')"
equal "isolation without PCIDs" one "$(run --pti on --no-pcid -- $bb sh -c 'echo one | cat')"
equal "zone HighMem" "DMA DMA32 HighMem" "$(run --ram 256M --highmem 128M -- $bb awk '{printf "%s%s", s, $4; s=" "}' /proc/buddyinfo)"
equal "its lines in meminfo" 4 "$(run --ram 256M --highmem 128M -- $bb grep -cE '^(High|Low)(Total|Free)' /proc/meminfo)"
equal "none without it" 0 "$(run --ram 256M -- $bb grep -cE '^High|pgalloc_high' /proc/meminfo /proc/vmstat | $bb awk -F: '{s+=$2} END{print s}')"
refused "high memory beyond RAM" run --ram 256M --highmem 1G -- $bb true
refused "too little low memory" run --ram 256M --highmem 4M -- $bb true
refused "isolation is on or off" run --pti maybe -- $bb true
finish
