# Runs a command on a terminal of its own and types at it:  status, shown = run([...], [expect(b"\\$ "), send(b"ls\r")])
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

TIMEOUT = 90


class Failure(Exception):
    pass


def expect(pattern): return ("expect", pattern)
def send(text): return ("send", text)
def size(rows, columns): return ("size", (rows, columns))
def call(function): return ("call", function)   # function(pid, fd)
def pause(seconds): return ("pause", seconds)


def run(command, steps=(), rows=24, columns=80, before=None):
    """(exit status, everything that was shown); a negative status is the signal that killed it."""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp(command[0], command)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    shown, seen = b"", 0

    def more(seconds):
        nonlocal shown
        if not select.select([fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(fd, 65536)
        except OSError:
            return False
        shown += data
        return bool(data)

    try:
        for kind, what in steps:
            if kind == "send":
                os.write(fd, what)
            elif kind == "size":
                fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *what, 0, 0))
            elif kind == "call":
                what(pid, fd)
            elif kind == "pause":
                end = time.monotonic() + what
                while time.monotonic() < end:
                    more(0.05)
            else:
                end = time.monotonic() + TIMEOUT
                while not (found := re.search(what, shown[seen:], re.S)):
                    if not more(0.2) and not re.search(what, shown[seen:], re.S):
                        raise Failure(f"ended before {what!r}: {shown[seen:][-400:]!r}")
                    if time.monotonic() > end:
                        raise Failure(f"no {what!r}: {shown[seen:][-400:]!r}")
                seen += found.end()
        end = time.monotonic() + TIMEOUT
        while more(0.2):
            if time.monotonic() > end:
                raise Failure(f"does not end: {shown[-400:]!r}")
    except Failure:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(fd)
        raise
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(fd)
    return status, shown
