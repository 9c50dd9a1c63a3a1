// A pseudo-terminal: what its slave writes the master reads, and what the master writes is typed at the slave (drivers/tty/pty.c).
#pragma once

#include <memory>
#include <string>

#include "vitro/fs/tty.h"

namespace vitro::fs {

class Pty final : public TtyDevice {
 public:
  static constexpr size_t kBuffer = 65536;  // TTYB_DEFAULT_MEM_LIMIT

  explicit Pty(unsigned number) : number(number) {}
  size_t room() override { return std::min(kBuffer - std::min(kBuffer, to_master.size()), kBuffer); }
  void put(std::span<const uint8_t> bytes) override;
  void flush_output() override;
  void input_taken() override { master_writers.wake_all(); }
  void settings_changed(const Termios& t) override;

  // TIOCPKT's status byte (TIOCPKT_*).
  static constexpr uint8_t kFlushRead = 1, kFlushWrite = 2, kNoStop = 16, kDoStop = 32;

  unsigned number;
  bool locked = true;        // until TIOCSPTLCK
  bool master_open = true;
  unsigned slave_opens = 0;
  bool slave_closed = false; // it was open once and is not now: readers of the master get EIO
  bool packets = false;      // TIOCPKT
  uint8_t packet_status = 0;
  std::string to_master;
  WaitQueue master_readers, master_writers;

 private:
  bool flow_control_ = true;
};

// The master's file. `removed` is called when it is closed.
std::shared_ptr<File> make_pty_master(std::shared_ptr<Inode> inode, unsigned flags, std::shared_ptr<Tty> slave, std::shared_ptr<Pty> pty,
                                      std::function<void()> removed);
// The pair behind a master; null where `file` is none.
struct PtyPair {
  std::shared_ptr<Tty> slave;
  std::shared_ptr<Pty> pty;
};
PtyPair pair_of_master(File& file);

}  // namespace vitro::fs
