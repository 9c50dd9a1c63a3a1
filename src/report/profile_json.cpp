// A profile as JSON: for each table the rows, most first, and the sum of all that is not shown.
#include <fmt/format.h>

#include "profile_tables.h"

namespace vitro::report {
namespace {

using Json = nlohmann::ordered_json;
using kernel::ProfileCounts;
using kernel::ProfileRanking;
using kernel::ProfileRow;
using kernel::ProfileTable;

void add_counts(Json& j, const ProfileCounts& c, const MissCost& cost, bool tlb) {
  if (tlb) {
    j["misses"] = c.all_misses();
    j["loads"] = c.misses[0];
    j["stores"] = c.misses[1];
    j["fetches"] = c.misses[2];
    j["misses_by_size"] = {{"4K", c.by_size[0]}, {"2M", c.by_size[1]}, {"1G", c.by_size[2]}};
    j["l2_hits"] = c.all_misses() - c.walks();
    j["walks"] = c.walks();
    j["cold"] = c.cold;
    j["flushed"] = c.flushed;
    j["evicted"] = c.evicted;
    j["set_dirty"] = c.dirty;
    j["walk_references"] = c.references;
    j["cycles"] = cost.cycles(c);
  }
  j["minor_faults"] = c.minor_faults;
  j["major_faults"] = c.major_faults;
}

Json row_json(ProfileTable table, const ProfileRow& r, const MissCost& cost, bool tlb) {
  Json j;
  const auto hex = [](VirtAddr a) { return fmt::format("0x{:x}", a.value()); };
  switch (table) {
    case ProfileTable::Task:
      j["tid"] = r.pid.value();
      j["comm"] = r.comm;
      break;
    case ProfileTable::Area:
      j["pid"] = r.pid.value();
      j["comm"] = r.comm;
      j["start"] = hex(r.address);
      j["end"] = hex(r.end);
      j["perms"] = r.text;
      j["name"] = r.name;
      break;
    case ProfileTable::Page:
      j["pid"] = r.pid.value();
      j["comm"] = r.comm;
      j["address"] = hex(r.address);
      j["page_size"] = r.size == hw::PageSize::k4K ? "4K" : r.size == hw::PageSize::k2M ? "2M" : "1G";
      j["vma"] = r.name;
      break;
    case ProfileTable::Symbol:
      j["symbol"] = r.name;
      j["object"] = r.object;
      break;
    default:
      j["address"] = hex(r.address);
      j["symbol"] = r.name;
      j["object"] = r.object;
      j["insn"] = r.text;
  }
  add_counts(j, r.counts, cost, tlb);
  return j;
}

Json ranking_json(ProfileTable table, const ProfileRanking& ranking, const MissCost& cost, bool tlb) {
  Json j;
  j["rows"] = Json::array();
  for (const ProfileRow& r : ranking.rows) j["rows"].push_back(row_json(table, r, cost, tlb));
  j["distinct"] = ranking.distinct;
  j["rest"] = Json::object();
  add_counts(j["rest"], ranking.rest, cost, tlb);
  return j;
}

}  // namespace

Json profile_json(const kernel::ProfileReport& r, const MissCost& cost) {
  Json j;
  j["total"] = Json::object();
  add_counts(j["total"], r.total, cost, r.tlb);
  const auto tables = [&](const std::array<ProfileRanking, kernel::kProfileTables>& rankings) {
    Json all;
    for (size_t i = 0; i < rankings.size(); ++i) {
      const auto table = static_cast<ProfileTable>(i);
      const bool unknown = !r.instructions && (table == ProfileTable::Symbol || table == ProfileTable::Instruction);
      all[std::string("by_") + kernel::profile_table_name(table)] = unknown ? Json(nullptr) : ranking_json(table, rankings[i], cost, r.tlb);
    }
    return all;
  };
  j["tlb_misses"] = r.tlb ? tables(r.misses) : Json(nullptr);
  j["page_faults"] = tables(r.faults);
  return j;
}

}  // namespace vitro::report
