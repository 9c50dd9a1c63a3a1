#include "fs/pty.h"

#include "fs/vfs_state.h"

namespace vitro::fs {
namespace {

enum : unsigned { kTiocPkt = 0x5420, kTiocGPkt = 0x80045438, kTiocGPtn = 0x80045430, kTiocSPtLck = 0x40045431, kTiocGPtLck = 0x80045439, kTiocSig = 0x40045436,
                  kFionRead = 0x541b, kTiocSCtty = 0x540e, kTiocOutQ = 0x5411 };
constexpr size_t kChunk = 512;

class MasterFile final : public File {
 public:
  MasterFile(std::shared_ptr<Inode> inode, unsigned flags, std::shared_ptr<Tty> slave, std::shared_ptr<Pty> pty, std::function<void()> removed)
      : File(std::move(inode), flags), slave_(std::move(slave)), pty_(std::move(pty)), removed_(std::move(removed)) {}
  ~MasterFile() override { released(); }

  Result<size_t> read(size_t count, ByteSink& sink, Blocking& blocking) override {
    if (count == 0) return size_t{0};
    while (pty_->to_master.empty() && !(pty_->packets && pty_->packet_status)) {
      if (pty_->slave_closed) return fail(Errno::IoError);
      if (non_blocking()) return fail(Errno::Again);
      TRY(blocking.wait(pty_->master_readers));
    }
    std::string bytes;
    if (pty_->packets) {
      const uint8_t status = std::exchange(pty_->packet_status, 0);
      bytes += static_cast<char>(status);
      if (status) return sink.put(std::as_bytes(std::span(bytes)));
    }
    const size_t header = bytes.size();
    bytes.append(pty_->to_master, 0, count - header);
    const size_t put = TRY(sink.put(std::as_bytes(std::span(bytes))));
    const bool was_full = pty_->room() < Pty::kBuffer / 2;
    pty_->to_master.erase(0, put - std::min(header, put));
    if (was_full || pty_->to_master.empty()) slave_->output_drained();
    return put;
  }

  Result<size_t> write(size_t count, ByteSource& source, Blocking& blocking) override {
    count = std::min(count, kMaxTransfer);
    size_t done = 0;
    std::array<uint8_t, kChunk> chunk;
    while (done < count) {
      const size_t most = std::min({count - done, kChunk, slave_->receive_room()});
      if (most == 0) {
        if (non_blocking()) return done > 0 ? Result<size_t>{done} : fail(Errno::Again);
        const Status waited = blocking.wait(pty_->master_writers);
        if (!waited) return done > 0 ? Result<size_t>{done} : fail(waited.error());
        continue;
      }
      const auto taken = source.take(std::as_writable_bytes(std::span(chunk).first(most)));
      if (!taken) return done > 0 ? Result<size_t>{done} : fail(taken.error());
      slave_->receive(std::span(chunk).first(*taken));
      done += *taken;
      if (*taken < most) break;
    }
    return done;
  }

  Result<size_t> read_at(uint64_t, size_t, ByteSink&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<size_t> write_at(uint64_t, size_t, ByteSource&, Blocking&) override { return fail(Errno::IllegalSeek); }
  Result<uint64_t> seek(int64_t, int) override { return fail(Errno::IllegalSeek); }

  Result<long> ioctl(unsigned command, uint64_t argument, UserCopy& user) override {
    const VirtAddr at{argument};
    switch (command) {
      case kTiocGPtn:
        TRY(user.put(at, pty_->number));
        return 0;
      case kTiocSPtLck:
        pty_->locked = TRY(user.get<int32_t>(at)) != 0;
        return 0;
      case kTiocGPtLck:
        TRY(user.put(at, int32_t{pty_->locked}));
        return 0;
      case kTiocPkt: {
        const bool on = TRY(user.get<int32_t>(at)) != 0;
        if (on && !pty_->packets) pty_->packet_status = 0;
        pty_->packets = on;
        return 0;
      }
      case kTiocGPkt:
        TRY(user.put(at, int32_t{pty_->packets}));
        return 0;
      case kTiocSig:
        if (argument < 1 || argument > 64) return fail(Errno::Invalid);
        slave_->signal_foreground(static_cast<int>(argument));
        return 0;
      case kFionRead:
        TRY(user.put(at, static_cast<int32_t>(pty_->to_master.size())));
        return 0;
      case kTiocOutQ:
        TRY(user.put(at, static_cast<int32_t>(slave_->unread())));
        return 0;
      case kTiocSCtty: return fail(Errno::NotTty);
      default: return slave_->ioctl(command, argument, user, true);
    }
  }

  unsigned poll(PollTable* table) override {
    if (table) table->wait_on(pty_->master_readers), table->wait_on(pty_->master_writers);
    unsigned events = 0;
    if (!pty_->to_master.empty()) events |= kPollIn | kPollRdNorm;
    if (pty_->packets && pty_->packet_status) events |= kPollPri | kPollIn | kPollRdNorm;
    if (pty_->slave_closed) events |= kPollHup;
    if (slave_->receive_room() > 0) events |= kPollOut | kPollWrNorm;
    return events;
  }

  Status sync(Inode::Sync, Bytes, Bytes) override { return fail(Errno::Invalid); }
  Status truncate(uint64_t) override { return fail(Errno::Invalid); }
  Result<std::shared_ptr<mm::MappedFile>> map(bool) override { return fail(Errno::NoDevice); }
  bool is_stream() const override { return true; }
  void released() override {
    if (!removed_) return;
    pty_->master_open = false;
    std::exchange(removed_, nullptr)();
    slave_->hang_up();
  }
  PtyPair pair() const { return {slave_, pty_}; }

 private:
  std::shared_ptr<Tty> slave_;
  std::shared_ptr<Pty> pty_;
  std::function<void()> removed_;
};

}  // namespace

void Pty::put(std::span<const uint8_t> bytes) {
  to_master.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  master_readers.wake_all();
}

void Pty::flush_output() {
  to_master.clear();
  if (packets) packet_status |= kFlushWrite, master_readers.wake_all();
}

// n_tty_packet_mode_flush's sibling in n_tty_set_termios: whether the master may stop and start the output itself.
void Pty::settings_changed(const Termios& t) {
  const bool flow = (t.input & kIxOn) && t.cc[kVStop] == 023 && t.cc[kVStart] == 021;
  if (flow != flow_control_ && packets) {
    packet_status = static_cast<uint8_t>((packet_status & ~(kNoStop | kDoStop)) | (flow ? kDoStop : kNoStop));
    master_readers.wake_all();
  }
  flow_control_ = flow;
}

std::shared_ptr<File> make_pty_master(std::shared_ptr<Inode> inode, unsigned flags, std::shared_ptr<Tty> slave, std::shared_ptr<Pty> pty,
                                      std::function<void()> removed) {
  return std::make_shared<MasterFile>(std::move(inode), flags, std::move(slave), std::move(pty), std::move(removed));
}

PtyPair pair_of_master(File& file) {
  const auto* master = dynamic_cast<MasterFile*>(&file);
  return master ? master->pair() : PtyPair{};
}

}  // namespace vitro::fs
