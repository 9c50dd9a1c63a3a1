# Debian's own programs: what they print and how they end must be what they print and how they end outside. A program that is not installed is
# skipped by name; scripts/setup installs them.
. "$(dirname "$0")/lib.sh"
export LC_ALL=C LANG=C
work=$scratch/work
mkdir -p "$work"; chmod 755 "$scratch" "$work"
cd "$work" || exit 1
seq 20000 | sed 's/$/ 7919/' | awk '{print ($1 * $2) % 20011}' >numbers
printf '#include <stdio.h>\nint main(void) { printf("hello %%d\\n", 42); return 3; }\n' >hello.c
own=/tmp/vitro-programs-$$
same() {  # same PROGRAM NAME COMMAND: a shell command, in a directory that the guest sees read-only; its /tmp/t is one of its own
  local program=$1 name=$2 command="mkdir -p /tmp/t; $3"
  command=${command//\/tmp\/t/$own}
  command -v "$program" >/dev/null || { echo "skipped: $name: there is no $program"; return; }
  rm -rf "$own"
  local outside inside
  outside=$(timeout 60 bash -c "$command" </dev/null 2>&1; echo "status $?")
  rm -rf "$own"
  inside=$(timeout 120 "$vitro" run --mmu fast --env LC_ALL=C -- bash -c "$command" </dev/null 2>&1; echo "status $?")
  equal "$name" "$outside" "$inside"
}
same factor "coreutils: numbers and text" 'factor 12345678; numfmt --to=iec 123456789; seq 3 | tac | nl | paste -s; basename /a/b.c .c; printf "%05d\n" 7; expr 3 + 4; echo abc | tr a-z A-Z;
  echo abc | sha256sum; echo abc | base64 | base64 -d; od -c <<<abc; fold -w 5 <<<0123456789; comm <(seq 5) <(seq 3 7); join <(echo 1 a) <(echo 1 b); tsort <<<"a b"; date -u -d @0'
same install "coreutils: files" 'cd /tmp/t; mkdir -p d/e; touch d/f; ln -s f d/l; cp -a d g; mv g h; ls -R d h; stat -c "%n %F %a" d d/f d/l; truncate -s 1000 d/t; split -b 300 d/t x; ls x*; shred -u d/t;
  install -m 700 /etc/passwd p; stat -c %a p; mkfifo q; dd if=/dev/zero of=z bs=1k count=5 2>&1 | head -2; wc -c z; rm -r h; realpath d/l; timeout 1 sleep 5; echo $?; nohup echo n; yes | head -2'
same find "findutils" 'find /etc -maxdepth 1 -name "pass*" | sort; printf "%s\n" a b c | xargs -n 2 -P 2 echo | sort'
same sort "sort" 'sort -n numbers | md5sum; sort -S 1M -n numbers | tail -1; sort --parallel=4 -r numbers | uniq -c | head -2'
same gzip "gzip" 'gzip -c numbers | gunzip | md5sum'
same xz "xz with threads" 'xz -1 -T2 -c numbers | xz -dc | md5sum'
same bzip2 "bzip2" 'bzip2 -c numbers | bunzip2 | md5sum'
same zstd "zstd with threads" 'zstd -q -T2 -c numbers | zstd -dcq | md5sum'
same tar "tar" 'cd /tmp/t; cp /etc/passwd /etc/group .; tar czf a.tgz passwd group; mkdir x; tar xzvf a.tgz -C x; cmp passwd x/passwd'
same mawk "awk, sed, grep" 'mawk -F: "{s+=\$3} END {print s}" /etc/passwd; sed -n "1,2p;s/root/ROOT/p" /etc/passwd; grep -c root /etc/passwd; grep -n "^r" /etc/group'
same diff "diff" 'diff -u <(seq 10) <(seq 2 11) | tail -n +3; cmp /etc/passwd /etc/group >/dev/null; echo $?'
same bash "bash" 'coproc cat; echo hi >&${COPROC[1]}; read -ru ${COPROC[0]} l; echo $l; kill $!; mapfile -t m < <(seq 3); echo ${#m[@]}; (exit 4); echo $?; sleep 0.1 & wait $!; echo $?; exec 5<>/tmp/t/q; echo z >&5; cat /tmp/t/q; trap "echo bye" EXIT'
same dash "dash" 'dash -c "i=0; while [ \$i -lt 1000 ]; do i=\$((i+1)); done; echo \$i; trap \"echo t\" USR1; kill -USR1 \$\$"'
same zsh "zsh" 'zsh -c "a=(c b a); print \${(o)a}; print \$(( 2**10 ))"'
same perl "perl" 'perl -e "my \$p = fork; if (!\$p) { exit 3 } waitpid \$p, 0; print \$? >> 8, qq(\n); local \$SIG{ALRM} = sub { print qq(alarm\n) }; alarm 1; sleep 3; open my \$f, q(-|), q(echo piped); print <\$f>"'
same python3 "python: threads, processes, files" 'python3 -c "
import threading, subprocess, multiprocessing, mmap, sqlite3, asyncio, os, socket, signal, tempfile
done = []
threads = [threading.Thread(target=done.append, args=(i,)) for i in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]; print(sorted(done))
print(subprocess.run([\"echo\", \"child\"], capture_output=True, text=True).stdout)
with multiprocessing.Pool(2) as pool: print(pool.map(abs, range(-3, 3)))
m = mmap.mmap(-1, 8192); m[:5] = b\"hello\"; print(m[:5])
db = sqlite3.connect(\"/tmp/t/db\"); db.execute(\"create table t(a)\"); db.executemany(\"insert into t values(?)\", [(i,) for i in range(100)]); print(db.execute(\"select sum(a) from t\").fetchone())
async def echo(r, w): w.write(await r.readline()); await w.drain(); w.close()
async def talk():
  server = await asyncio.start_server(echo, \"127.0.0.1\", 0)
  r, w = await asyncio.open_connection(*server.sockets[0].getsockname()); w.write(b\"over the loopback\n\"); print(await r.read()); w.close(); server.close()
asyncio.run(talk())
a, b = socket.socketpair(); f = tempfile.TemporaryFile(); socket.send_fds(a, [b\"x\"], [f.fileno()]); print(len(socket.recv_fds(b, 1, 1)[1]))
"'
same sqlite3 "sqlite3 with a write-ahead log" 'sqlite3 /tmp/t/a.db "pragma journal_mode=wal; create table t(a int, b text); insert into t values(1,\"x\"),(2,\"y\"); select * from t; pragma integrity_check;"'
same git "git" 'cd /tmp/t; export HOME=/tmp/t; git init -q -b main r; cd r; git config user.email a@b; git config user.name n; seq 100 >f; git add f; git commit -q -m one; sed -i 5d f; git diff --stat; git commit -qam two; git log --format=%s; git gc -q; git clone -q . ../c; ls ../c'
same gcc "gcc, and what it makes" 'gcc -O1 -o /tmp/t/hello hello.c && /tmp/t/hello'
same make "make -j" 'cd /tmp/t; printf "all: b c\n\techo all\nb:\n\techo b\nc:\n\techo c\n" >Makefile; make -s -j3 | sort'
same lua5.4 "lua" 'lua5.4 -e "local f = io.popen(\"echo popen\") print(f:read(\"a\")) print(coroutine.wrap(function() coroutine.yield(5) end)())"'
same ps "procps" 'ps -o comm= -p $$; pgrep -c nosuchprogram; free -h | head -1; vmstat 1 2 | wc -l; top -b -n1 | grep -c Cpu; pmap $$ | tail -1 | cut -c1-7'
same prlimit "util-linux" 'getopt -o ab: -- -a -b x y; flock /tmp/t/l echo locked; setsid -w echo s; taskset -c 0 echo ts; ionice -c 3 ionice; prlimit --nofile=100:100 bash -c "ulimit -n"; hexdump -C <<<abc; choom -p 1 >/dev/null; echo $?'
same redis-server "redis over TCP" 'redis-server --port 7777 --save "" >/dev/null & sleep 1; redis-cli -p 7777 set a 5; redis-cli -p 7777 incr a; redis-cli -p 7777 shutdown nosave; wait; echo $?'
same nc "netcat" 'nc -l -p 9999 >/tmp/t/o & sleep 0.5; echo hello | nc -N 127.0.0.1 9999; wait; cat /tmp/t/o'
same tmux "tmux" 'tmux -S /tmp/t/s new -d "echo hi >/tmp/t/o; sleep 100"; sleep 1; tmux -S /tmp/t/s ls | cut -d: -f1; cat /tmp/t/o; tmux -S /tmp/t/s kill-server; echo $?'
same openssl "openssl" 'openssl dgst -sha256 /etc/passwd; openssl enc -aes-128-cbc -pbkdf2 -pass pass:x -S 0011223344556677 -in /etc/passwd | openssl enc -d -aes-128-cbc -pbkdf2 -pass pass:x | cmp - /etc/passwd'
same bc "bc, file, strings" 'echo "2^100" | bc; strings -n 8 /bin/true | head -1'
rm -rf "$own"
"$vitro" run --mmu fast -- sleep infinity >"$scratch/out" 2>"$scratch/err"; status=$?
equal "a run in which nothing can happen any more ends with 71" 71 "$status"
check "and says who waits where" grep -q 'sleep\[[0-9]*\] in pause' "$scratch/err"
finish
