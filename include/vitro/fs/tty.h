// A terminal: the line discipline N_TTY between programs and a device (drivers/tty/n_tty.c, tty_io.c, tty_jobctrl.c; termios(3)).
//
//   auto tty = std::make_shared<Tty>(vfs, device, make_device(136, 0));
//   tty->receive(bytes);                                  // somebody types: edited, echoed, turned into signals, or kept for a reader
//   tty->read(count, sink, blocking, false);              // a program reads a line
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "vitro/fs/file.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::fs {

class Tty;
class Vfs;

// struct termios2 as ioctls carry it; TCGETS without the last two fields.
struct Termios {
  uint32_t input = 0, output = 0, control = 0, local = 0;
  uint8_t line = 0;
  std::array<uint8_t, 19> cc{};
  uint32_t input_speed = 0, output_speed = 0;
  static constexpr size_t kShortSize = 36;
  static Termios standard();   // drivers/tty/tty_io.c: tty_std_termios
};
static_assert(sizeof(Termios) == 44);

// Termios::cc indices (include/uapi/asm-generic/termbits.h).
inline constexpr size_t kVIntr = 0, kVQuit = 1, kVErase = 2, kVKill = 3, kVEof = 4, kVTime = 5, kVMin = 6, kVStart = 8, kVStop = 9, kVSusp = 10, kVEol = 11,
                        kVReprint = 12, kVWerase = 14, kVLnext = 15, kVEol2 = 16;
// Termios::input, output, local bits.
inline constexpr uint32_t kIgnBrk = 1, kBrkInt = 2, kIStrip = 040, kInlCr = 0100, kIgnCr = 0200, kIcrNl = 0400, kIuclc = 01000, kIxOn = 02000, kIxAny = 04000,
                          kIMaxBel = 020000, kIUtf8 = 040000;
inline constexpr uint32_t kOPost = 1, kOlcuc = 2, kOnlCr = 4, kOcrNl = 010, kOnoCr = 020, kOnlRet = 040, kTabDelay = 014000;
inline constexpr uint32_t kISig = 1, kICanon = 2, kEcho = 010, kEchoE = 020, kEchoK = 040, kEchoNl = 0100, kNoFlsh = 0200, kToStop = 0400, kEchoCtl = 01000,
                          kEchoPrt = 02000, kEchoKe = 04000, kIExten = 0100000;

struct WindowSize {
  uint16_t rows = 0, columns = 0, x_pixels = 0, y_pixels = 0;
  bool operator==(const WindowSize&) const = default;
};

// What a terminal's output goes to and its input comes from: a pseudo-terminal's master, the host's terminal.
class TtyDevice {
 public:
  virtual ~TtyDevice() = default;
  virtual size_t room() = 0;                              // bytes that put() takes now
  virtual void put(std::span<const uint8_t> bytes) = 0;   // at most room()
  virtual void flush_output() {}                          // what was put and not fetched yet is thrown away
  // The device does what Termios::output asks for; the line discipline only keeps track of the column.
  virtual bool processes_output() const { return false; }
  virtual void settings_changed(const Termios&) {}
  virtual void window_changed(const WindowSize&) {}
  virtual void input_wanted() {}                          // a program reads or polls, or has changed the settings
  virtual void input_taken() {}                           // receive_room() may have grown
  virtual void suspend() {}                               // VSUSP was typed and nobody inside could ever continue the foreground group
};

// What terminals ask of processes. Implemented by the kernel; set with Vfs::set_job_control.
class JobControl {
 public:
  virtual ~JobControl() = default;
  struct Caller {
    Pid process, group, session;
    std::shared_ptr<Tty> terminal;
    bool privileged = false;
  };
  virtual std::optional<Caller> caller() const = 0;          // none: no task runs
  virtual bool caller_heeds(int signal) const = 0;           // it is neither blocked nor ignored
  virtual bool orphaned(Pid group) const = 0;                // POSIX: nobody outside the group, in its session, is a parent of a member
  virtual std::optional<Pid> session_of(Pid group) const = 0;   // none: no such group
  virtual void signal_group(Pid group, int signal) = 0;
  virtual void signal_process(Pid process, int signal) = 0;
  virtual void set_terminal(std::shared_ptr<Tty> terminal) = 0;   // the calling process's; null: none
  virtual void drop_terminal(Pid session) = 0;               // of every process of the session
};

class Tty final : public std::enable_shared_from_this<Tty> {
 public:
  Tty(Vfs& vfs, std::shared_ptr<TtyDevice> device, uint64_t device_number);

  // ---- The device's side ----
  void receive(std::span<const uint8_t> bytes);   // typed; what does not fit is lost
  size_t receive_room() const;                    // 0: readers have to come first
  void hang_up();                                 // the line is gone: SIGHUP to the session's leader; every open file is dead
  void set_window(const WindowSize& w);           // SIGWINCH to the foreground group where it differs
  void output_drained() { writers.wake_all(); }   // room() has grown

  // ---- The files' side. `opened`: opening() at the time of the open; a hang-up since then has killed the file. ----
  unsigned opening() const { return hang_ups_; }
  // A session leader without a terminal gets this one (tty_open_proc_set_tty), unless `no_controlling_terminal`.
  void opened_by_caller(bool no_controlling_terminal);
  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking, bool non_blocking, unsigned opened);
  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking, bool non_blocking, unsigned opened);
  unsigned poll(PollTable* table, unsigned opened);
  // `master`: asked through the master's side, where job control does not bind.
  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user, bool master);

  // ---- Sessions ----
  Pid session() const { return session_; }
  Pid foreground() const { return foreground_; }
  void set_owner(Pid session, Pid foreground) { session_ = session, foreground_ = foreground; }
  // The session's leader ends (`ending`) or gives the terminal up: disassociate_ctty.
  void leave_session(bool ending);

  TtyDevice& device() { return *device_; }
  uint64_t device_number() const { return device_number_; }
  const Termios& settings() const { return settings_; }
  void set_settings(const Termios& t);            // without job control: set-up
  size_t unread() const { return ready_.size(); }
  void flush_input();
  void signal_foreground(int signal);             // TIOCSIG
  WaitQueue readers, writers;

 private:
  // One character that readers may have.
  struct Cell {
    uint8_t c = 0;
    bool ends_line = false;
    bool end_of_file = false;   // VEOF: ends a line, and is no character of it
  };
  static constexpr size_t kBufferSize = 4096;     // N_TTY_BUF_SIZE
  static constexpr size_t kColumns = 8;           // between tab stops

  bool local(uint32_t bit) const { return settings_.local & bit; }
  bool input(uint32_t bit) const { return settings_.input & bit; }
  bool is(uint8_t c, size_t index) const { return c == settings_.cc[index] && c != 0; }   // 0 is _POSIX_VDISABLE
  // tty_input.cpp
  void receive_one(uint8_t c);
  void receive_canonical(uint8_t c);
  bool receive_signal(uint8_t c);
  void erase(uint8_t c);
  void finish_line(Cell last);
  void add_ready(Cell cell);
  // tty_output.cpp
  void echo(uint8_t c);                           // as ECHOCTL asks
  void echo_raw(std::string_view text);
  void flush_echo();
  std::string process_output(std::span<const uint8_t> bytes);
  size_t output_room() { return stopped_ ? 0 : device_->room(); }
  void set_stopped(bool stopped);
  // tty_io.cpp
  Status may_read();
  Status may_change(int signal);
  bool input_available(bool polled) const;
  Result<size_t> read_line(size_t count, ByteSink& sink);
  Result<size_t> read_raw(size_t count, ByteSink& sink, Blocking& blocking, bool non_blocking, unsigned opened);
  // tty_ioctl.cpp
  Result<long> set_termios(std::span<const std::byte> bytes, bool flush);
  Result<long> set_foreground(Pid group);
  Result<long> take_terminal(bool steal);
  Result<long> flush_control(uint64_t what);

  Vfs& vfs_;
  std::shared_ptr<TtyDevice> device_;
  uint64_t device_number_;
  mm::SlabObject memory_;                         // its tty_struct
  Termios settings_ = Termios::standard();
  WindowSize window_;
  Pid session_{0}, foreground_{0};
  unsigned hang_ups_ = 0;
  bool exclusive_ = false, stopped_ = false;

  std::deque<Cell> ready_;
  size_t lines_ = 0;                              // cells in ready_ that end one
  std::string editing_;                           // the line that is being typed
  bool literal_ = false;                          // VLNEXT was typed
  bool erasing_ = false;                          // inside ECHOPRT's \.../
  size_t column_ = 0, line_column_ = 0;           // of the cursor; where the line being typed began
  std::string echo_;                              // echoes that found no room
};

// A file on a terminal, with the given inode (of devpts, /dev/tty, /dev/console). Io, Busy (TIOCEXCL).
Result<std::shared_ptr<File>> open_tty(const std::shared_ptr<Inode>& inode, unsigned flags, std::shared_ptr<Tty> tty, bool no_controlling_terminal);

// devpts, with ptmx (which /dev/ptmx leads to as well) and the pseudo-terminals that were made; and the machine's own terminal, if any, as number 0.
// Registers the devices 5:0 (tty), 5:1 (console), 5:2 (ptmx).
std::shared_ptr<FileSystem> make_devpts(Vfs& vfs, std::shared_ptr<Tty> console);
// ioctl(TIOCGPTPEER) on a master: its slave, opened. NotTty where `master` is no master.
Result<std::shared_ptr<File>> open_peer(Vfs& vfs, File& master, unsigned flags);

}  // namespace vitro::fs
