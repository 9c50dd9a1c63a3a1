// /proc files about the system as a whole: stat, uptime, loadavg, interrupts, mounts, disks, and what never changes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "vitro/fs/process_view.h"
#include "vitro/fs/vfs.h"

namespace vitro::fs {

std::string render_stat(const SystemView& s);                             // fs/proc/stat.c
std::string render_uptime(const SystemView& s);                           // fs/proc/uptime.c
std::string render_loadavg(const SystemView& s);                          // fs/proc/loadavg.c
std::string render_softirqs(const SystemView& s);
std::string render_interrupts(const SystemView& s, uint64_t shootdowns);  // arch/x86/kernel/irq.c: the counts that exist here
std::string render_version();
std::string render_filesystems();
std::string render_devices(std::span<const BlockDeviceView> disks);
std::string render_partitions(std::span<const BlockDeviceView> disks);
std::string render_diskstats(std::span<const BlockDeviceView> disks);
std::string render_disk_stat(const BlockDeviceView& disk);  // /sys/block/NAME/stat

std::string render_mounts(std::span<const Vfs::MountInfo> mounts);
std::string render_mountinfo(std::span<const Vfs::MountInfo> mounts);
// The identity of the mount that `device` is mounted as (mnt_id of fdinfo); 0 where it is not mounted.
unsigned mount_id(std::span<const Vfs::MountInfo> mounts, uint64_t device);

}  // namespace vitro::fs
