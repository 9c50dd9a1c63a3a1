# What a guest may see and change of the host.
. "$(dirname "$0")/lib.sh"
bb=/bin/busybox
chmod 755 "$scratch"
mkdir "$scratch/offered" "$scratch/secret"
echo data >"$scratch/offered/file"; echo hidden >"$scratch/secret/file"; echo private >"$scratch/offered/private"; chmod 600 "$scratch/offered/private"
ln -s ../secret/file "$scratch/offered/up"; ln -s "$scratch/secret/file" "$scratch/offered/absolute"; ln -s /etc/shadow "$scratch/offered/shadow"
mkfifo "$scratch/offered/fifo"
in_offered() { "$vitro" run --bind "$scratch/offered:/offered" -- $bb sh -c "$1" 2>/dev/null; }
equal "an offered file is read" data "$(in_offered 'cat /offered/file')"
equal "a link out of the offer leads nowhere" "" "$(in_offered 'cat /offered/up')"
equal "nor an absolute one" "" "$(in_offered 'cat /offered/absolute')"
equal "nor one to a protected file" "" "$(in_offered 'cat /offered/shadow')"
equal "what is not world-readable is not read" "" "$(in_offered 'cat /offered/private')"
equal "a host pipe does not hang the guest" done "$(timeout 20 "$vitro" run --bind "$scratch/offered:/offered" -- $bb sh -c 'cat /offered/fifo 2>/dev/null; echo done')"
equal "the guest writes over an offered file" changed "$(in_offered 'echo changed >/offered/file; cat /offered/file')"
equal "and the host's stays" data "$(cat "$scratch/offered/file")"
in_offered 'rm /offered/file; mkdir /offered/new; echo x >/offered/new/y; mv /offered/private /offered/gone'
equal "nothing is removed or added on the host" "absolute fifo file private shadow up" "$(ls "$scratch/offered" | tr '\n' ' ' | sed 's/ $//')"
equal "dot-dot does not leave the root" "$("$vitro" run -- $bb ls /)" "$("$vitro" run -- $bb ls /../../..)"
equal "the host's processes are not seen" "" "$("$vitro" run -- $bb sh -c "ls -d /proc/$$ 2>/dev/null")"
finish
