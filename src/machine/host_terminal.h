// The terminal that vitro itself runs on, as a device of the guest: raw while the guest uses it, and always put back.
#pragma once

#include <memory>
#include <string>

#include "vitro/fs/tty.h"

namespace vitro::machine {

// Puts the host's terminal back as it was; may be called at any time, from signal handlers too.
void restore_host_terminal();

class HostTerminal final : public fs::TtyDevice {
 public:
  // The first of descriptors 0, 1, 2 that is a terminal; null: none is.
  static std::shared_ptr<HostTerminal> find();
  ~HostTerminal() override;

  // Whether `fd` leads to this terminal too.
  bool is(int fd) const;
  int fd() const { return fd_; }
  // The host's settings when it was found: what the guest's terminal starts with.
  fs::Termios settings() const;
  fs::WindowSize window() const;
  // Typed characters come here, one by one: the guest has asked for input.
  bool raw() const { return raw_; }
  // Characters can be read now.
  bool readable() const;
  // Types what is there at `tty`; nothing is lost where it has no room. The host's terminal may turn out to be gone.
  void pump(fs::Tty& tty);
  bool gone() const { return gone_; }
  // vitro was stopped and continues: whoever had the terminal meanwhile has changed it.
  void continued();
  // The key that interrupts (Ctrl-C) stays the host's even while everything else that is typed is the guest's.
  void keep_interrupt_key(bool keep) { keeps_interrupt_key_ = keep; }
  // For a while the terminal is the host's again, as it was found.
  void lend();
  void taken_back();
  // Called around each output of the guest: others print there too.
  std::function<void()> before_output;
  std::function<void(char last)> after_output;
  // Called when raw() changes.
  std::function<void(bool raw)> on_raw;

  // fs::TtyDevice
  size_t room() override { return SIZE_MAX; }
  void put(std::span<const uint8_t> bytes) override;
  bool processes_output() const override { return true; }
  void settings_changed(const fs::Termios& t) override;
  void window_changed(const fs::WindowSize& w) override;
  void input_wanted() override;
  void suspend() override;

 private:
  explicit HostTerminal(int fd);
  void apply();
  void write_all(std::span<const uint8_t> bytes);
  int fd_, out_fd_;
  uint64_t device_ = 0;
  bool raw_ = false, gone_ = false, keeps_interrupt_key_ = false;
  uint32_t output_ = 0;   // Termios::output as the guest wants it
};

}  // namespace vitro::machine
