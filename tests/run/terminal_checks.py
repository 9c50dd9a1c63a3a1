# What a person at a terminal meets. usage: terminal_checks.py VITRO
import os, shutil, signal, sys, termios, time

sys.path.insert(0, os.path.dirname(__file__))
from terminal import Failure, call, expect, pause, run, send, size

vitro = sys.argv[1]
guests = os.path.join(os.path.dirname(vitro), "guest")
failed = checked = 0


def guest(*command):
    return [vitro, "run", "--mmu", "fast", "--", *command]


def check(name, program, action, passed):
    global failed, checked
    if not shutil.which(program):
        print(f"skipped: {name}: there is no {program}")
        return
    checked += 1
    try:
        result = action()
        if passed(*result):
            return
        print(f"FAIL {name}: {result}")
    except Failure as e:
        print(f"FAIL {name}: {e}")
    failed += 1


# Says so when typing reaches it: changing the settings takes the host's terminal over.
READY = ["/bin/sh", "-c", "stty sane; echo ready; exec cat"]
BASH = ["/bin/bash", "--norc", "--noprofile", "-i"]
PROMPT = rb"[#$] $"

check("a shell: prompt, editing, job control, interrupts", "/bin/bash", lambda: run(guest(*BASH), [
    expect(PROMPT), send(b"echo onx\x7fe\r"), expect(rb"\rone\r\n"), expect(PROMPT),
    send(b"sh -c 'echo g'o'; exec cat'\r"), expect(rb"\rgo\r\n"), send(b"line\r"), expect(rb"line\r\nline\r\n"), send(b"\x1a"), expect(rb"Stopped +sh"), expect(PROMPT),
    send(b"jobs\r"), expect(rb"Stopped +sh"), expect(PROMPT),
    send(b"fg\r"), pause(0.3), send(b"again\r"), expect(rb"again\r\nagain\r\n"), send(b"\x04"), expect(PROMPT),
    send(b"cat >/dev/null &\r"), expect(rb"\[1\] \d+"), expect(PROMPT), send(b"sleep 0.2; jobs\r"), expect(rb"Stopped +cat"), expect(PROMPT), send(b"kill %1; bg\r"), expect(PROMPT),
    send(b"while :; do :; done\r"), pause(0.5), send(b"\x03"), expect(rb"\^C"), expect(PROMPT),
    send(b"echo status $?\r"), expect(rb"status 130\r\n"), expect(PROMPT), send(b"exit 7\r")]),
    lambda status, shown: status == 7)
check("names", "/usr/bin/tty", lambda: run(guest("/bin/sh", "-c", "tty; readlink /proc/self/fd/0; ps -o tty= -p $$; stty size; test -t 1 && echo yes")),
      lambda status, shown: shown == b"/dev/pts/0\r\n/dev/pts/0\r\npts/0\r\n24 80\r\nyes\r\n")
check("no terminal", "/usr/bin/tty", lambda: run(["/bin/sh", "-c", f"{vitro} run -- /bin/sh -c 'tty; test -t 1 || echo no' </dev/null | cat"]),
      lambda status, shown: shown == b"not a tty\r\nno\r\n")
check("output to a pager outside is left alone", "/usr/bin/less", lambda: run(["/bin/sh", "-c", f"{vitro} run -- seq 100 | less"], [
    expect(rb"23\r\n:"), send(b"G"), expect(rb"100\r\n"), send(b"q")]), lambda status, shown: status == 0)
check("a full-screen editor", "/usr/bin/vim.tiny", lambda: run(guest("/bin/sh", "-c", "vim.tiny -u NONE /tmp/text; cat /tmp/text"), [
    expect(rb"~"), pause(0.5), send(b"iwritten\x1b:wq\r"), expect(rb"written")]), lambda status, shown: status == 0 and shown.endswith(b"written\r\n"))
check("a pager", "/usr/bin/less", lambda: run(guest("/bin/sh", "-c", "seq 200 | less; echo status $?"), [
    expect(rb":"), send(b"G"), expect(rb"\n200\r\n"), send(b"q"), expect(rb"status 0")]), lambda status, shown: status == 0)
check("top", "/usr/bin/top", lambda: run(guest("/usr/bin/top", "-d", "1"), [expect(rb"load average"), pause(1.5), send(b"q")]),
      lambda status, shown: status == 0 and shown.count(b"load average") >= 2)
check("the window's size, and its changes", "/bin/bash", lambda: run(guest("/bin/bash", "-c", "trap 'stty size; exit 3' WINCH; stty size; while :; do sleep 0.01; done"), [
    expect(rb"24 80"), size(30, 100)]), lambda status, shown: status == 3 and b"30 100" in shown)
check("VINTR ends a reader", "/bin/cat", lambda: run(guest(*READY), [expect(rb"ready\r\n"), send(b"abc\r"), expect(rb"abc\r\nabc"), send(b"\x03")]),
      lambda status, shown: status == 130)
check("VEOF ends input", "/bin/cat", lambda: run(guest(*READY), [expect(rb"ready\r\n"), send(b"abc\r\x04")]), lambda status, shown: (status, shown) == (0, b"ready\r\nabc\r\nabc\r\n"))
check("a password is not shown", "/usr/bin/python3", lambda: run(guest("/usr/bin/python3", "-c", "import getpass; print('it is', getpass.getpass())"), [
    expect(rb"assword: "), send(b"secret\r"), expect(rb"it is secret")]), lambda status, shown: status == 0 and shown.count(b"secret") == 1)
check("a terminal in a terminal: python's pty.spawn", "/usr/bin/python3", lambda: run(guest(
    "/usr/bin/python3", "-c", "import pty; print(pty.spawn(['/bin/sh', '-c', 'tty; read x; echo got $x; exit 3']))"), [
    expect(rb"/dev/pts/1"), send(b"word\r"), expect(rb"got word"), expect(rb"768")]), lambda status, shown: status == 0)
check("a terminal in a terminal: script", "/usr/bin/script", lambda: run(guest("/bin/sh", "-c", "script -q -e -c 'tty; exit 5' /tmp/log; echo $?; grep -c pts/1 /tmp/log")),
      lambda status, shown: shown == b"/dev/pts/1\r\n5\r\n1\r\n")


check("the monitor's prompt in a session", "/bin/bash", lambda: run([vitro, "run", "--mmu", "fast", "--monitor", "-", "--", *BASH], [
    expect(rb"\(vitro\) "), send(b"continue\r"), expect(PROMPT), send(b"echo on\x7fe\r"), expect(rb"\roe\r\n"), expect(PROMPT),
    send(b"\x03"), expect(rb"interrupted.*\(vitro\) "), send(b"ps x\x7f\x7f\r"), expect(rb"COMMAND.*bash.*\(vitro\) "), send(b"continue\r"),
    send(b"while :; do :; done\r"), pause(0.5), send(b"\x03"), expect(rb"interrupted.*\(vitro\) "), send(b"quit\r"), pause(0.5), send(b"\x03"), expect(PROMPT), send(b"exit 4\r")]),
    lambda status, shown: status == 4)


# However it ends, the terminal is as before.
def settings_after(how):
    result = {}

    def note(pid, fd): result["before"] = termios.tcgetattr(fd)
    def raw(pid, fd): result["raw"] = termios.tcgetattr(fd) != result["before"]
    def end(pid, fd):
        os.kill(pid, how)
        deadline = time.monotonic() + 10
        while (result.update(after=termios.tcgetattr(fd)), result["after"] != result["before"])[1] and time.monotonic() < deadline:
            time.sleep(0.1)

    try:
        run(guest(*READY), [call(note), expect(rb"ready\r\n"), call(raw), call(end)])
    except termios.error as e:
        raise Failure(str(e))
    return result, how


for how in (signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGABRT):
    check(f"the terminal is put back after {how.name}", "/bin/cat", lambda: settings_after(how), lambda r, how: r["raw"] and r["before"] == r["after"])

print(f"{checked} checks, {failed} failed")
sys.exit(failed > 0 or checked == 0)
