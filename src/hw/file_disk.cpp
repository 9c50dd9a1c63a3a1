// A disk whose contents are a host file, sparse where nothing was written, and locked while a machine uses it.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "hw/queued_disk.h"

namespace vitro::hw {
namespace {

class FileDisk final : public QueuedDisk {
 public:
  FileDisk(int fd, std::string name, Bytes size, Clock& clock, const TimingModel& timing) : QueuedDisk(std::move(name), size, clock, timing), fd_(fd) {}
  ~FileDisk() override { ::close(fd_); }

  Status peek(uint64_t sector, std::span<std::byte> into) const override {
    if (!inside(sector, into.size())) return fail(Errno::IoError);
    uint64_t at = sector * kSectorSize;
    while (!into.empty()) {
      const ssize_t n = ::pread(fd_, into.data(), into.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail(Errno::IoError);
      into = into.subspan(static_cast<size_t>(n));
      at += static_cast<uint64_t>(n);
    }
    return {};
  }
  Status poke(uint64_t sector, std::span<const std::byte> from) override {
    if (!inside(sector, from.size())) return fail(Errno::IoError);
    uint64_t at = sector * kSectorSize;
    while (!from.empty()) {
      const ssize_t n = ::pwrite(fd_, from.data(), from.size(), static_cast<off_t>(at));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return fail(Errno::IoError);  // the host's disk is full: the guest's has an error
      from = from.subspan(static_cast<size_t>(n));
      at += static_cast<uint64_t>(n);
    }
    return {};
  }
  void discard(uint64_t sector, uint64_t sectors) override {
    const uint64_t end = size_ / kSectorSize;
    if (sector >= end || sectors == 0) return;
    sectors = std::min(sectors, end - sector);
    const auto from = static_cast<off_t>(sector * kSectorSize), length = static_cast<off_t>(sectors * kSectorSize);
    if (::fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, length) == 0) return;
    constexpr std::array<std::byte, kSectorSize> kZeros{};
    for (uint64_t i = 0; i < sectors; ++i) (void)poke(sector + i, kZeros);
  }

 private:
  const int fd_;
};

}  // namespace

Result<std::unique_ptr<Disk>, UserError> open_disk_image(const std::string& path, std::string name, std::optional<Bytes> size, Clock& clock, const TimingModel& timing) {
  const auto refuse = [&](const std::string& why, const char* hint) { return fail(UserError{fmt::format("--disk-image {}: {}", path, why), hint}); };
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) return refuse(std::strerror(errno), "name a file you may read and write");
  struct ::stat about {};
  const auto give_up = [&](const std::string& why, const char* hint) {
    ::close(fd);
    return refuse(why, hint);
  };
  if (::fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return give_up("is not a regular file", "name a file");
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return give_up("another machine uses it", "wait for that run to end, or use another image");
  Bytes have{static_cast<uint64_t>(about.st_size)};
  if (have.value() == 0) {
    have = size.value_or(gib(16));
    if (::ftruncate(fd, static_cast<off_t>(have.value())) != 0) return give_up(fmt::format("cannot make it {} bytes long: {}", have.value(), std::strerror(errno)), "choose a smaller --disk");
  } else if (size && *size != have) {
    return give_up(fmt::format("it is {} bytes long, and --disk says {}", have.value(), size->value()), "leave --disk out, or start a new image");
  }
  return std::unique_ptr<Disk>(std::make_unique<FileDisk>(fd, std::move(name), have, clock, timing));
}

}  // namespace vitro::hw
