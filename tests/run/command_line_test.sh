# The command line: what is refused and how, and what belongs to the program.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
equal "version" "vitro" "$("$vitro" --version | cut -d' ' -f1)"
equal "the program's dashes are its own" "-n x --ram" "$("$vitro" run --ram 64M $bb echo -- -n x --ram | sed 's/^-- //')"
equal "and with a double dash" "a -b" "$("$vitro" run -- $bb echo a -b)"
equal "a program is found in PATH" hello "$("$vitro" run -- busybox echo hello)"
equal "exit status" 7 "$("$vitro" run -- $bb sh -c 'exit 7'; echo $?)"
equal "a signal is 128 plus its number" 137 "$("$vitro" run -- $bb sh -c 'kill -9 $$'; echo $?)"
equal "a variable is set" "v=1" "$("$vitro" run --env v=1 -- $bb env | grep ^v=)"
equal "the guest's standard error is its own" "err" "$("$vitro" run -- $bb sh -c 'echo err >&2' 2>&1 >/dev/null)"
echo text >"$scratch/named"
chmod 755 "$scratch"; chmod 644 "$scratch/named"
hidden() { (cd / && "$vitro" run -- $bb "$@" 2>&1 >/dev/null) | grep -c "$scratch/named is on the host.*--bind"; }
equal "a host file that a failing program may have missed" 1 "$(hidden cat "$scratch/named")"
equal "not where it could do without" 0 "$(hidden sh -c "cat $scratch/named || true")"
equal "and not where it made it itself" 0 "$(hidden sh -c "mkdir -p $scratch; echo own >$scratch/named; exit 1")"
refused "no command"
refused "no program" run
refused "an unknown command" fly
refused "a size without a number" run --ram M -- $bb true
refused "a size with an unknown unit" run --ram 12Q -- $bb true
refused "a size beyond 2^63" run --ram 99999999999999999999 -- $bb true
refused "an unknown MMU mode" run --mmu psychic -- $bb true
refused "an unknown verify level" run --verify maybe -- $bb true
refused "a bind of nothing" run --bind /no/such/thing -- $bb true
refused "a relative guest path" run --bind /usr:usr -- $bb true
refused "a root that is not there" run --root /no/such/root -- $bb true
refused "a variable without a value" run --env NAME -- $bb true
refused "statistics to nowhere" run --stats-json /no/such/dir/j -- $bb true
refused "a directory as a program" run -- /usr
refused "a text file that is no script" run -- /etc/passwd
refused "a seed that is no number" run --seed x -- $bb true
finish
