// /sys/block: the block devices that the machine has (block/genhd.c, blk-sysfs.c).
#include <fmt/format.h>

#include "fs/proc_system.h"
#include "fs/proc_tree.h"
#include "vitro/mm/readahead.h"

namespace vitro::fs {
namespace {

using Text = Result<std::string>;

constexpr std::string_view kCachedDisk = "vda";  // with the file system that the page cache reads ahead

// The device as it is now, by name.
std::optional<BlockDeviceView> find_device(const ProcContext& c, std::string_view name) {
  for (BlockDeviceView& d : c.processes.system().block_devices)
    if (d.name == name) return std::move(d);
  return std::nullopt;
}

std::shared_ptr<PseudoDirectory> device_directory(const ProcContext& c, const std::string& name) {
  auto directory = std::make_shared<PseudoDirectory>();
  const auto add = [&](PseudoDirectory& d, std::string_view file, auto render) {
    d.file(file, [c, name, render]() -> Text {
      const auto device = find_device(c, name);
      if (!device) return fail(Errno::NoDevice);
      return render(*device);
    });
  };
  using Device = const BlockDeviceView&;
  add(*directory, "dev", [](Device d) { return fmt::format("{}:{}\n", d.major, d.minor); });
  add(*directory, "removable", [](Device) { return std::string("0\n"); });
  add(*directory, "ro", [](Device d) { return std::string(d.read_only ? "1\n" : "0\n"); });
  add(*directory, "size", [](Device d) { return fmt::format("{}\n", d.sectors); });
  add(*directory, "stat", [](Device d) { return render_disk_stat(d); });
  PseudoDirectory& queue = directory->directory("queue");
  for (const std::string_view size : {"hw_sector_size", "logical_block_size", "physical_block_size"})
    add(queue, size, [](Device) { return std::string("512\n"); });
  if (name == kCachedDisk)
    queue.file(
        "read_ahead_kb", [c]() -> Text { return fmt::format("{}\n", c.vm.readahead_pages * (kPageSize >> 10)); },
        [c](std::string_view text) -> Status {
          c.vm.readahead_pages = static_cast<uint64_t>(TRY(parse_tunable(text, 0, INT32_MAX))) / (kPageSize >> 10);
          return {};
        });
  add(queue, "max_sectors_kb", [](Device) { return fmt::format("{}\n", mm::kDiskIoPages * (kPageSize >> 10)); });
  add(queue, "rotational", [](Device d) { return std::string(d.rotational ? "1\n" : "0\n"); });
  return directory;
}

}  // namespace

void add_block_tree(PseudoDirectory& root, const ProcContext& c) {
  PseudoDirectory& block = root.directory("block");
  block.list_dynamic = [c] {
    std::vector<std::string> names;
    for (const BlockDeviceView& d : c.processes.system().block_devices) names.push_back(d.name);
    return names;
  };
  block.find_dynamic = [c](std::string_view name) -> std::optional<PseudoEntry> {
    if (!find_device(c, name)) return std::nullopt;
    PseudoEntry e;
    e.directory = device_directory(c, std::string(name));
    return e;
  };

  PseudoDirectory& numbers = root.directory("dev/block");
  const auto number_of = [](const BlockDeviceView& d) { return fmt::format("{}:{}", d.major, d.minor); };
  numbers.list_dynamic = [c, number_of] {
    std::vector<std::string> names;
    for (const BlockDeviceView& d : c.processes.system().block_devices) names.push_back(number_of(d));
    return names;
  };
  numbers.find_dynamic = [c, number_of](std::string_view name) -> std::optional<PseudoEntry> {
    for (const BlockDeviceView& d : c.processes.system().block_devices) {
      if (number_of(d) != name) continue;
      PseudoEntry e;
      e.link = [target = "../../block/" + d.name]() -> Text { return target; };
      return e;
    }
    return std::nullopt;
  };
}

}  // namespace vitro::fs
