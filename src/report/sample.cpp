#include "report/sample.h"

#include <sstream>

namespace vitro::report {

int64_t Sample::get(const Fields& fields, std::string_view name) {
  for (const auto& [field, value] : fields)
    if (field == name) return value;
  return 0;
}

int64_t Sample::vm_sum(std::string_view prefix) const {
  int64_t sum = 0;
  for (const auto& [field, value] : vmstat)
    if (field.starts_with(prefix)) sum += value;
  return sum;
}

Sample::Fields parse_fields(std::string_view text) {
  Sample::Fields fields;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (!(words >> name >> value)) continue;
    if (name.ends_with(':')) name.pop_back();
    fields.emplace_back(std::move(name), value);
  }
  return fields;
}

Sample take_sample(machine::Machine& machine) {
  Sample s;
  s.time = machine.clock().now();
  s.system = machine.kernel().system();
  s.meminfo = parse_fields(fs::meminfo_text(machine.vm(), s.system));
  s.vmstat = parse_fields(fs::vmstat_text(machine.vm()));
  return s;
}

}  // namespace vitro::report
