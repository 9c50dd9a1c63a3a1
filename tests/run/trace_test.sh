# Traces: written, printed, filtered, counted, converted; cut files, full disks and closed pipes.
. "$(dirname "$0")/lib.sh"
t=$scratch/t.vtrace
"$vitro" run --trace 'page-fault,tlb-miss,tlb-flush,syscall,task' --trace-out "$t" -- "$guests/touch" 1M >/dev/null
"$vitro" run --trace 'page-fault,tlb-miss,tlb-flush,syscall,task' --trace-out "$scratch/t.txt" -- "$guests/touch" 1M >/dev/null
"$vitro" trace "$t" >"$scratch/printed"
check "a binary trace prints as the text trace" cmp "$scratch/t.txt" "$scratch/printed"
all=$(wc -l <"$scratch/t.txt")
count() { "$vitro" trace --count --where "$1" "$t"; }
equal "events are counted" "$all" "$("$vitro" trace --count "$t")"
equal "by name" "$(grep -c ': tlb_miss: ' "$scratch/t.txt")" "$(count 'event=tlb_miss')"
equal "not" "$(grep -vc ': tlb_miss: ' "$scratch/t.txt")" "$(count 'not event=tlb_miss')"
equal "and, or, parentheses" "$(grep -Ec ': (sys_enter|sys_exit): nr=12 ' "$scratch/t.txt")" "$(count '(event=sys_enter or event=sys_exit) and nr=12')"
equal "numbers are compared as numbers" "$(grep -c ': page_fault_user: .*error_code=0x6' "$scratch/t.txt")" "$(count 'event~page_fault* and error_code>5 and error_code<0x7')"
equal "patterns" "$(grep -c 'sym=main' "$scratch/t.txt")" "$(count 'sym~main*')"
equal "and their opposite" "$all" "$(($(count 'time<0.001') + $(count 'time>=0.001')))"
equal "counts by a field add up" "$all" "$("$vitro" trace --count by event "$t" | awk '{n += $1} END {print n}')"
equal "wherever the file stands" "$("$vitro" trace --count by event "$t")" "$("$vitro" trace "$t" --count by event)"
equal "and as one option" "$("$vitro" trace --count by pid "$t")" "$("$vitro" trace --count-by pid "$t")"
refused "an unknown field" trace --where 'adress=1' "$t"
check "with what is like it" grep -q 'did you mean address' "$scratch/refused.err"
refused "an unknown event" trace --where 'event=tlb_mis' "$t"
check "with what is like it" grep -q 'did you mean tlb_miss' "$scratch/refused.err"
refused "a number that is none" trace --where 'error_code=many' "$t"
refused "half a condition" trace --where 'event=' "$t"
refused "a parenthesis that stays open" trace --where '(pid=1' "$t"
refused "counting by what is not there" trace --count by colour "$t"
refused "two traces" trace "$t" "$t"
refused "no trace" trace /etc/passwd
refused "a trace that is not there" trace /no/such/trace
refused "an unknown event to run" run --trace no-such-event -- /bin/busybox true

# As Linux prints it: include/trace/events/tlb.h.
check "tlb_flush has Linux's form" grep -Eq ': tlb_flush: pages:-?[0-9]+ reason:(flush on task switch \(0\)|local mm shootdown \(3\))$' "$scratch/t.txt"
check "the idle task has ftrace's name" grep -q '^ *<idle>-0 ' "$scratch/t.txt"
"$vitro" trace --format ftrace "$t" >"$scratch/ftrace"
equal "ftrace's header" "# tracer: nop" "$(head -n 1 "$scratch/ftrace")"
check "ftrace's columns" cmp <(grep -v '^#' "$scratch/ftrace") "$scratch/t.txt"
equal "each line has task, CPU, flags, time and event" 0 "$(grep -v '^#' "$scratch/ftrace" | grep -Evc '^ *.{1,15}-[0-9]+ +\[[0-9]{3}\] [.a-zA-Z0-9]{5} +[0-9]+\.[0-9]{6}: [a-z_]+: ')"
"$vitro" trace --format csv "$t" >"$scratch/csv"
"$vitro" trace --format json "$t" >"$scratch/json"
equal "CSV has one header and a row an event, JSON an object an event" "$all $all True" "$(python3 - "$scratch/csv" "$scratch/json" <<'P'
import csv, json, sys
rows = list(csv.reader(open(sys.argv[1])))
events = json.load(open(sys.argv[2]))['traceEvents']
same = all(len(r) == len(rows[0]) for r in rows) and len(set(rows[0])) == len(rows[0])
same = same and [r[4] for r in rows[1:]] == [e['name'] for e in events] and all(abs(float(r[0]) * 1e6 - e['ts']) < 1e-3 for r, e in zip(rows[1:], events))
print(len(rows) - 1, len(events), same)
P
)"

head -c 9000 "$t" >"$scratch/cut.vtrace"
"$vitro" trace "$scratch/cut.vtrace" >"$scratch/cut.txt" 2>"$scratch/cut.err"
check "a cut trace is said to be cut" grep -q 'is cut: its first [0-9]* events are good' "$scratch/cut.err"
check "what it still has is the beginning" cmp "$scratch/cut.txt" <(head -n "$(wc -l <"$scratch/cut.txt")" "$scratch/t.txt")
# A reader of stderr that goes away ends the trace, with status 2 and no abort.
mkfifo "$scratch/fifo"
head -n 1 <"$scratch/fifo" >/dev/null &
"$vitro" run --trace '*' -- /bin/busybox sh -c 'ls /usr/bin' >/dev/null 2>"$scratch/fifo"; equal "nobody reads the trace" "2" "$?"
wait
if [ -w /dev/full ]; then
  "$vitro" trace "$t" >/dev/full 2>"$scratch/full"; equal "no room for the output" "2 1" "$? $(wc -l <"$scratch/full")"
  "$vitro" trace --count "$t" >/dev/full 2>"$scratch/full"; equal "not even for a number" "2 1" "$? $(wc -l <"$scratch/full")"
  "$vitro" tlbs >/dev/full 2>"$scratch/full"; equal "no room for a table" "2 1" "$? $(wc -l <"$scratch/full")"
  "$vitro" run --trace '*' --trace-out /dev/full -- /bin/busybox true >/dev/null 2>"$scratch/full"; equal "no room for the trace" "2 1" "$? $(wc -l <"$scratch/full")"
fi
"$vitro" run --mmu exact --trace tlb-miss --trace-out "$scratch/big.vtrace" -- "$guests/touch" 64M >/dev/null
equal "a closed pipe ends it without a word" "1 0" "$("$vitro" trace "$scratch/big.vtrace" 2>"$scratch/pipe" | head -n 1 | wc -l) $(wc -c <"$scratch/pipe")"
# Linux's systems select too, and what happens when memory is short has Linux's form (include/trace/events).
"$vitro" run --ram 48M --swap 8M --trace 'kmem:mm_page*,vmscan:*,writeback:*,filemap,swap,block:*,oom:*,sched:*' --trace-out "$scratch/mm.txt" -- /bin/busybox sh -c '
  mkdir /data; dd if=/dev/zero of=/data/f bs=1M count=24; sync; cat /data/f; echo 3 >/proc/self/oom_score_adj; for i in 1 2 3; do dd if=/dev/zero of=/dev/null bs=24M count=3 & done; wait; rm /data/f' >/dev/null 2>&1
form() { check "$1 has Linux's form: $(grep -m 1 ": $1: " "$scratch/mm.txt")" grep -Eq ": $1: $2\$" "$scratch/mm.txt"; }
n='-?[0-9]+' u='[0-9]+' x='0x[0-9a-f]+' flags='[A-Z_|]+' bdi='bdi 254:0:'
form mm_page_alloc "page=ffffea[0-9a-f]{10} pfn=$x order=$u migratetype=$u gfp_flags=$flags"
form mm_page_free "page=ffffea[0-9a-f]{10} pfn=$x order=$u"
form mm_filemap_add_to_page_cache "dev $u:$u ino [0-9a-f]+ pfn=$x ofs=$u order=0"
form mm_filemap_delete_from_page_cache "dev $u:$u ino [0-9a-f]+ pfn=$x ofs=$u order=0"
form mm_shrink_slab_start "[a-z_]+ [0-9a-f]+: nid: 0 objects to shrink $n gfp_flags $flags cache items $u delta $u total_scan $u priority $u"
form mm_shrink_slab_end "[a-z_]+ [0-9a-f]+: nid: 0 unused scan count $u new scan count $u total_scan $u last shrinker return val $u"
form mm_vmscan_lru_shrink_inactive "nid=0 nr_scanned=$u nr_reclaimed=$u nr_dirty=$u nr_writeback=$u nr_congested=$u nr_immediate=$u nr_activate_anon=$u nr_activate_file=$u nr_ref_keep=$u nr_unmap_fail=$u priority=$u flags=$flags"
form mm_vmscan_write_folio "page=ffffea[0-9a-f]{10} pfn=$x flags=$flags"
form writeback_dirty_folio "$bdi ino=$u index=$u"
form folio_wait_writeback "$bdi ino=$u index=$u"
form writeback_start "$bdi sb_dev 0:0 nr_pages=$n sync_mode=0 kupdate=0 range_cyclic=1 background=1 reason=background cgroup_ino=1"
form writeback_written "$bdi sb_dev 0:0 nr_pages=$n sync_mode=0 kupdate=[01] range_cyclic=1 background=[01] reason=[a-z]+ cgroup_ino=1"
form writeback_pages_written "$u"
form writeback_wake_background "$bdi cgroup_ino=1"
form writeback_single_inode "$bdi ino=$u state=[A-Z_|]+ dirtied_when=$u age=$u index=$u to_write=$u wrote=$u cgroup_ino=1"
form global_dirty_state "dirty=$u writeback=$u bg_thresh=$u thresh=$u limit=$u dirtied=$u written=$u"
form balance_dirty_pages "$bdi limit=$u setpoint=$u dirty=$u bdi_setpoint=$u bdi_dirty=$u dirty_ratelimit=$u task_ratelimit=$u dirtied=$u dirtied_pause=$u paused=$u pause=$n period=$u think=$n cgroup_ino=1"
form block_rq_issue "254,0 [RWF] $u \\(\\) $u \\+ $u \\[[^]]+\\]"
form block_rq_complete "254,16 [RWF] \\(\\) $u \\+ $u \\[0\\]"
form oom_score_adj_update "pid=$u comm=busybox oom_score_adj=3"
form mark_victim "pid=$u comm=[a-z]+ total-vm=${u}kB anon-rss=${u}kB file-rss:${u}kB shmem-rss:${u}kB uid=0 pgtables=${u}kB oom_score_adj=$u"
form reclaim_retry_zone "node=0 zone=DMA32    order=0 reclaimable=$u available=$u min_wmark=$u no_progress_loops=$u wmark_check=[01]"
form sched_switch "prev_comm=.+ prev_pid=$u prev_prio=120 prev_state=[A-Z]\\+? ==> next_comm=.+ next_pid=$u next_prio=120"
form sched_wakeup "comm=.+ pid=$u prio=120 target_cpu=000"
form swap_out "type=0 offset=$u pfn=$x"
# docs/traces.md lists events as they are.
"$vitro" trace --events >"$scratch/events"
grep -E '^\| `[a-z_]+:[a-z_]+` \| [a-z-]+ \|' docs/traces.md >"$scratch/documented"
check "docs/traces.md has a table of events (vitro trace --events)" [ "$(wc -l <"$scratch/documented")" -gt 20 ]
equal "and none that is different" "" "$(grep -vxFf "$scratch/events" "$scratch/documented")"
finish
