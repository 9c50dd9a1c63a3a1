# Who causes TLB misses and page faults: the tables of --stats and --stats-json.
. "$(dirname "$0")/lib.sh"
# profile MODE L1D GUEST...: writes $scratch/MODE.json
profile() { local mode=$1 l1d=$2; shift 2; "$vitro" run --mmu "$mode" --tlb-l1d "$l1d" --tlb-l2 1536x12:lru --top 20 --stats-json "$scratch/$mode.json" -- "$@" >/dev/null; }
cat >"$scratch/sums.py" <<'P'
# Each table holds every miss and every fault once: its rows and its rest add up to the total, and that is what the counters say.
import json, sys
j = json.load(open(sys.argv[1]))
p, total, wrong = j['profile'], j['profile']['total'], []
for section, fields in (('tlb_misses', ['misses', 'loads', 'stores', 'fetches', 'l2_hits', 'walks', 'cold', 'flushed', 'evicted', 'set_dirty',
                                        'walk_references', 'cycles', 'minor_faults']), ('page_faults', ['minor_faults', 'major_faults'])):
    for name, table in (p[section] or {}).items():
        for f in fields:
            if sum(r[f] for r in table['rows']) + table['rest'][f] != total[f]: wrong.append((section, name, f))
        if table['distinct'] < len(table['rows']): wrong.append((section, name, 'distinct'))
if (total['minor_faults'], total['major_faults']) != (j['faults']['minor'], j['faults']['major']): wrong.append('faults')
if j['tlb']:
    if total['misses'] != j['tlb']['l1d']['misses'] + j['tlb']['l1i']['misses']: wrong.append('misses')
    if total['walks'] != j['walks']['count'] or total['set_dirty'] != j['walks']['set_dirty']: wrong.append('walks')
    if total['cold'] + total['flushed'] != j['walks']['first_use']: wrong.append('first use')
    if total['cycles'] != j['cycles']['l2_tlb_hits'] + j['cycles']['walks']: wrong.append('cycles')
print(wrong or 'add up')
P
top() { json "$scratch/$1.json" "(lambda r: (r['symbol'].split('+')[0], r['insn'], r['$3']))(j['profile']['$2']['by_instruction']['rows'][0])"; }

# 128 pages go round in 64 LRU entries: each of the 100 rounds misses 128 times, at one load.
profile exact 64x4:lru "$guests/tlb_pattern" cyclic 128 100
equal "the loads that miss are found" "('cyclic', 'movzx eax, byte ptr [rcx]', 12800)" "$(top exact tlb_misses misses)"
equal "and the stores that fault" "('main', 'mov byte ptr [rbp], 1', 128)" "$(top exact page_faults minor_faults)"
equal "and add up" "add up" "$(python3 "$scratch/sums.py" "$scratch/exact.json")"
equal "by area" "('[anonymous]', 12928)" "$(json "$scratch/exact.json" "(lambda r: (r['name'], r['misses']))(j['profile']['tlb_misses']['by_area']['rows'][0])")"
equal "128 of the pages missed at their first touch" 128 "$(json "$scratch/exact.json" "j['profile']['tlb_misses']['by_area']['rows'][0]['cold']")"
# The same with a second level that is too small as well: now the rounds walk, and not for the first time.
"$vitro" run --tlb-l1d 16x4:lru --tlb-l2 64x4:lru --stats-json "$scratch/small.json" -- "$guests/tlb_pattern" cyclic 128 100 >/dev/null
check "what a larger TLB would have kept is told apart" [ "$(json "$scratch/small.json" "j['profile']['tlb_misses']['by_instruction']['rows'][0]['evicted']")" = 12800 ]

# `exact` sees each access and `trap` only fills: two ways to the same instructions.
for guest in "tlb_pattern lcg 300 20000" fork_cow threads fpu read_modify_write; do
  for mode in exact trap; do eval "profile $mode 64x4:fifo $guests/$guest"; done
  equal "$guest: exact adds up" "add up" "$(python3 "$scratch/sums.py" "$scratch/exact.json")"
  check "$guest: trap blames whom exact blames" cmp <(json "$scratch/exact.json" "j['profile']") <(json "$scratch/trap.json" "j['profile']")
done
# Libraries have symbols too, from .dynsym where there is no .symtab.
"$vitro" run --mmu fast --stats-json "$scratch/dynamic.json" --top 1000 -- /bin/ls / >/dev/null
check "symbols of a library" [ "$(json "$scratch/dynamic.json" "any(r['object'].startswith('libc.so') and not r['symbol'].startswith('[') for r in j['profile']['page_faults']['by_symbol']['rows'])")" = True ]
equal "fast counts no misses, and says so" "None True" "$(json "$scratch/dynamic.json" "str(j['profile']['tlb_misses']) + ' ' + str('fast' in j['tlb_note'])")"
"$vitro" run --top 0 --stats-json "$scratch/none.json" -- /bin/busybox true
equal "--top 0 collects nothing" False "$(json "$scratch/none.json" "'profile' in j")"
"$vitro" run --top 3 --stats -- "$guests/tlb_pattern" cyclic 128 100 >/dev/null 2>"$scratch/text"
for title in task VMA page symbol instruction; do check "the text has a table by $title" grep -q "TLB misses.* by $title$" "$scratch/text"; done
check "with the instruction" grep -q "cyclic+0x[0-9a-f]* *movzx eax, byte ptr \[rcx\]$" "$scratch/text"
refused "a number of rows that is none" run --top many -- /bin/busybox true
finish
