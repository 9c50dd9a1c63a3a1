# A disk that is kept between runs, runs that are killed, and what is refused.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
image=$scratch/image
on() { "$vitro" run --disk-image "$image" -- $bb sh -c "$1" 2>&1; }
equal "a new image is made" "" "$("$vitro" run --disk 64M --disk-image "$image" -- $bb sh -c 'mkdir /kept; echo one >/kept/a; ln -s a /kept/b; seq 100000 >/kept/numbers')"
equal "it has the size that was asked for" 67108864 "$(stat -c %s "$image")"
check "and is sparse" test "$(stat -c %b "$image")" -lt 20000
equal "the next run finds what was written" "one one" "$(on 'echo $(cat /kept/a) $(cat /kept/b)')"
equal "all of it" "$(seq 100000 | md5sum)" "$(on 'cat /kept/numbers' | md5sum)"
equal "and may change it" "two gone" "$(on 'echo two >/kept/a; rm /kept/b'; on 'cat /kept/a; [ -L /kept/b ] || echo gone' | tr '\n' ' ' | sed 's/ $//')"
equal "du counts the map block too" "68.0K ok" "$(on 'dd if=/dev/zero of=/kept/z bs=4k count=16 2>/dev/null; sync; echo $(du -h /kept/z | cut -f1) ok')"
# Killed at any moment: what was synced is there.
"$vitro" run --disk-image "$image" -- $bb sh -c 'echo safe >/kept/safe; sync; echo ready; i=0; while :; do i=$((i+1)); echo $i >/kept/f$((i % 50)); done' >"$scratch/out" 2>&1 &
pid=$!
for _ in $(seq 100); do grep -q ready "$scratch/out" && break; sleep 0.1; done
sleep 0.3
refused "another machine must not use it meanwhile" run --disk-image "$image" -- $bb true
kill -9 $pid
wait $pid 2>/dev/null
equal "a killed run leaves a disk that the next one opens" safe "$(on 'cat /kept/safe')"
refused "a wrong size" run --disk 32M --disk-image "$image" -- $bb true
head -c 1M /dev/urandom >"$scratch/noise"
refused "a file that is no disk" run --disk-image "$scratch/noise" -- $bb true
cp "$image" "$scratch/damaged"
printf 'x' | dd of="$scratch/damaged" bs=1 seek=20 conv=notrunc 2>/dev/null
refused "a damaged one" run --disk-image "$scratch/damaged" -- $bb true
refused "a directory" run --disk-image "$scratch" -- $bb true
refused "fault rates that are none" run --disk-faults write=2 -- $bb true
equal "disk errors reach fsync" "1" "$("$vitro" run --disk-faults write=1 -- $bb sh -c 'dd if=/dev/zero of=/f bs=4k count=4 conv=fsync 2>&1' | grep -c 'I/O error\|Input/output error\|Read-only')"
equal "a full disk is ENOSPC and the machine lives" "1 alive" "$("$vitro" run --disk 16M -- $bb sh -c 'dd if=/dev/zero of=/f bs=1M count=200 2>&1 | grep -c "No space left"; sync; echo alive' | tr '\n' ' ' | sed 's/ $//')"
finish
