# Ctrl-C and its like reach the guest's foreground group; a guest that does not listen is ended by the second.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
interrupted() {  # interrupted SIGNAL SECONDS COMMAND...: vitro's status when the signal arrives after so many seconds of the host's time
  local signal=$1 after=$2; shift 2
  timeout --preserve-status -s "$signal" "$after" "$vitro" run --mmu fast -- "$@" >"$scratch/out" 2>"$scratch/err"
  echo $?
}
equal "SIGINT ends a busy guest" 130 "$(interrupted INT 1 $bb sh -c 'while :; do :; done')"
equal "SIGTERM ends it too" 143 "$(interrupted TERM 1 $bb sh -c 'while :; do :; done')"
equal "a handler gets it" 42 "$(interrupted INT 1 $bb sh -c 'trap "exit 42" INT; while :; do :; done')"
equal "a guest that waits for input is interrupted" 130 "$(sleep 3 | interrupted INT 1 $bb cat)"
"$vitro" run --mmu fast -- $bb sh -c 'trap "" INT; while :; do :; done' >/dev/null 2>&1 &
pid=$!
for _ in 1 2 3; do sleep 0.5; kill -INT $pid 2>/dev/null; done
wait $pid; status=$?
check "one that ignores it is ended by asking again (status $status)" test "$status" = 130
finish
