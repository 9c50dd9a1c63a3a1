# Runs repeat to the byte, and all modes show the guest the same.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
load='for i in 1 2 3; do (seq 1 500 | sort -rn | tail -n 1; cat /proc/self/stat; sleep 0.0$i) & done; wait; ls /usr/bin | head -n 50 | md5sum; date; cat /proc/meminfo /proc/vmstat'
for n in 1 2; do
  "$vitro" run --trace 'page-fault,syscall,signal,task' --trace-out "$scratch/t$n" -- $bb sh -c "$load" >"$scratch/o$n" 2>&1
done
check "a trace was written" test -s "$scratch/t1"
check "the same run gives the same trace" cmp "$scratch/t1" "$scratch/t2"
check "and the same output" cmp "$scratch/o1" "$scratch/o2"
"$vitro" run -- $bb sh -c "$load" >"$scratch/o3" 2>&1
check "watching changes nothing" cmp "$scratch/o1" "$scratch/o3"
"$vitro" run --mmu fast --trace 'page-fault,syscall,signal,task' --trace-out "$scratch/tf" -- $bb sh -c "$load" >"$scratch/of" 2>&1
check "fast mode shows the same faults, calls and times" cmp "$scratch/t1" "$scratch/tf"
check "and the same output in fast mode" cmp "$scratch/o1" "$scratch/of"
equal "random numbers repeat for a seed" "$("$vitro" run --seed 5 -- $bb od -An -tx1 -N8 /dev/urandom)" "$("$vitro" run --seed 5 -- $bb od -An -tx1 -N8 /dev/urandom)"
check "and differ for another" test "$("$vitro" run --seed 5 -- $bb od -An -tx1 -N8 /dev/urandom)" != "$("$vitro" run --seed 6 -- $bb od -An -tx1 -N8 /dev/urandom)"
equal "the environment of the host does not reach the guest" "" "$(SECRET=1 "$vitro" run -- $bb env | grep SECRET)"
finish
