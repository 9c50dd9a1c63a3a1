// A lab whose output is kept, for tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>

#include "vitro/lab/lab.h"

namespace vitro::lab::test {

inline std::string mistake(std::string_view text) {
  const auto script = parse(text);
  return script ? "" : error_line("lab", script.error());
}

// Runs scripts one after the other in one lab; with every invariant checked after each step.
class Rig {
 public:
  explicit Rig(LabConfig config = {.ram = mib(64), .verify = true}) : lab(std::move(*Lab::create(config, [this](std::string_view text) { output += text; }))) {}
  Ending run(std::string_view text) {
    const auto script = parse(text, names);
    if (!script) return {Ending::Kind::ScriptMistake, script.error().at, script.error().what};
    return lab->run(**script);
  }
  // The script must run to its end.
  void good(std::string_view text) {
    const Ending ending = run(text);
    EXPECT_EQ(ending.kind, Ending::Kind::Done) << ending.at.line << ": " << ending.what << "\n" << output;
  }
  // What the kernel error that ends the script says; empty where there was none.
  std::string error(std::string_view text) {
    const Ending ending = run(text);
    return ending.kind == Ending::Kind::KernelError ? ending.what : "";
  }
  bool printed(std::string_view text) const { return output.find(text) != std::string::npos; }

  std::string output;
  Names names;
  std::unique_ptr<Lab> lab;
};

}  // namespace vitro::lab::test
