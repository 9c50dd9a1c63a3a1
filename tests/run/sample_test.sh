# Live reports: the tools' own forms and numbers, files, what is refused, and that sampling changes nothing.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
sample() { local report=$1; shift; "$vitro" run --ram 256M --sample 1s --report "$report" -- "$@" 2>&1 >/dev/null; }
rows=$(sample sar-r $bb sleep 5)
equal "a row a second" "00:00:00 00:00:01 00:00:02 00:00:03 00:00:04 00:00:05" "$(cut -d' ' -f1 <<<"$rows" | paste -sd' ')"
equal "of twelve words" 12 "$(awk '{ print NF }' <<<"$rows" | sort -u)"
equal "free is the default" 5 "$("$vitro" run --sample 1s -- $bb sleep 5 2>&1 | grep -c '^Mem:')"
equal "vmstat's heading" " r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st                 UTC" "$(sample vmstat $bb sleep 2 | sed -n 2p)"
equal "fields" "00:00:02 0" "$(sample MemFree,oom_kill $bb sleep 2 | awk 'NR == 3 { print $1, $3 }')"
equal "milliseconds where they matter" "00:00:00.500" "$("$vitro" run --sample 500ms --report MemFree -- $bb sleep 1 2>&1 | awk 'NR == 2 { print $1 }')"
equal "a short run gives one row, at its end" 2 "$(sample sar-r $bb true | wc -l)"
equal "a busy program is sampled in time" "10 20 30" \
  "$("$vitro" run --sample 10ms --report pgfault --report-out "$scratch/b.csv" -- $bb sh -c 'i=0; while [ $i -lt 12000 ]; do i=$((i+1)); done'; awk -F, 'NR > 1 && NR < 5 { printf "%s%d", s, $1 * 1000; s = " " }' "$scratch/b.csv")"

# Debian's own tools inside, at the same seconds: sar and what it runs change the memory while they start, and sleep then.
compare() {  # compare REPORT PROGRAM...: the rows of the third and fourth second, theirs and ours
  local report=$1; shift
  "$vitro" run --ram 256M --sample 1s --report "$report" --report-out "$scratch/ours.txt" -- "$@" >"$scratch/theirs.txt" 2>/dev/null
}
second() { awk -v t="$2" '$1 == t { $1 = ""; print }' "$1"; }
for report in r B S W; do
  compare sar-$report /usr/bin/sar -$report 1 5
  equal "sar -$report's heading is ours" "$(sed -n 3p "$scratch/theirs.txt")" "$(sed -n 1p "$scratch/ours.txt")"
  check "sar -$report prints" test -n "$(second "$scratch/theirs.txt" 00:00:04)"
  [ $report = B ] || equal "sar -$report's row is ours" "$(second "$scratch/theirs.txt" 00:00:04)" "$(second "$scratch/ours.txt" 00:00:04)"
  equal "sar -$report's row is as wide as ours" "$(grep ^00:00:04 "$scratch/theirs.txt" | tr '0-9' 9 | wc -c)" "$(grep ^00:00:04 "$scratch/ours.txt" | wc -c)"
done
compare sar-r /usr/bin/sar -r 1 5
compare free /usr/bin/free -s 1 -c 4
equal "free's table is ours" "$(grep -E '^(Mem|Swap)' "$scratch/theirs.txt" | tail -n 2)" "$(awk '/^00:00:03/ { on = 1; next } on && /^(Mem|Swap)/' "$scratch/ours.txt" | head -n 2)"
compare vmstat /usr/bin/vmstat -t 1 5
equal "vmstat's heading is ours" "$(head -n 2 "$scratch/theirs.txt")" "$(head -n 2 "$scratch/ours.txt")"
equal "vmstat's memory is ours" "$(awk '$NF == "00:00:04" { print $3, $4, $5, $6 }' "$scratch/theirs.txt")" "$(awk '$NF == "00:00:04" { print $3, $4, $5, $6 }' "$scratch/ours.txt")"

"$vitro" run --sample 1s --report sar-B --report-out "$scratch/r.csv" -- $bb sleep 3
equal "CSV has a heading and a row a second" "time,pgpgin/s 4" "$(head -n 1 "$scratch/r.csv" | cut -d, -f1-2) $(wc -l <"$scratch/r.csv")"
"$vitro" run --sample 1s --report 'Active(anon),pgfault' --report-out "$scratch/r.json" -- $bb sleep 3
equal "JSON is read by others" "3 3.0 True" "$(json "$scratch/r.json" "'%d %.1f %s' % (len(j), j[2]['time'], j[2]['pgfault'] > 0 and 'Active(anon)' in j[0])")"

# Sampling changes nothing.
load='for i in 1 2; do (seq 1 300 | sort -rn | tail -n 1; sleep 0.0$i) & done; wait; cat /proc/self/stat /proc/stat /proc/meminfo /proc/vmstat /proc/uptime'
for where in plain seen; do
  options=$([ $where = seen ] && echo "--sample 700us --report vmstat --report-out $scratch/rows.txt")
  "$vitro" run $options --stats-json "$scratch/$where.json" --trace 'page-fault,syscall,signal,task' --trace-out "$scratch/$where.trace" -- $bb sh -c "$load" >"$scratch/$where.out" 2>&1
done
check "it sampled" test "$(wc -l <"$scratch/rows.txt")" -gt 20
check "it changes no output" cmp "$scratch/plain.out" "$scratch/seen.out"
check "no statistics" cmp "$scratch/plain.json" "$scratch/seen.json"
check "no trace" cmp "$scratch/plain.trace" "$scratch/seen.trace"
equal "a guest that waits for input lets no time pass" "0.00" "$(sleep 1 | "$vitro" run --sample 1s -- $bb sh -c 'read x; cut -d" " -f1 /proc/uptime' 2>/dev/null)"

refused "an unknown report" run --sample 1s --report sar-x -- $bb echo no
refused "an unknown field" run --sample 1s --report MemFree,MemFre -- $bb echo no
check "with the nearest" grep -q 'did you mean MemFree' "$scratch/refused.err"
refused "no interval" run --sample 0 -- $bb echo no
refused "an interval of another unit" run --sample 3y -- $bb echo no
refused "a report without an interval" run --report free -- $bb echo no
refused "a file that cannot be" run --sample 1s --report-out /no/such/dir/x -- $bb echo no
"$vitro" run --sample 1s --report-out /dev/full -- $bb sleep 2 >/dev/null 2>"$scratch/full"; status=$?
equal "a full disk is reported" "2 1" "$status $(grep -c 'cannot write the report' "$scratch/full")"
equal "no progress line where there is no terminal" "" "$("$vitro" run --mmu fast -- $bb sleep 100000 2>&1)"
finish
