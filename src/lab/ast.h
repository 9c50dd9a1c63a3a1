// A parsed lab: statements, and the expressions in them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lab/vocabulary.h"
#include "vitro/lab/script.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/slab.h"

namespace vitro::lab {

struct Expression {
  enum class Kind : uint8_t {
    Number,
    Text,      // a string, or a word that is nobody's name: DMA, yes, kmalloc-128
    Null,
    Variable,  // `text`; `operands`: the index, where there is one
    Field,     // `field` of `operands`
    Counter,   // `text` = "meminfo" or "vmstat", `member` = the name of its line
    Binary,    // `operation` is one of + - * / %
    Negative,
  };
  Kind kind = Kind::Number;
  Position at;
  int64_t number = 0;
  std::string text, member;
  const Field* field = nullptr;
  char operation = 0;
  std::vector<Expression> operands;
};

enum class Comparison : uint8_t { Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual };

// A comparison as written, so that a failure can show it.
struct Condition {
  Expression left, right;
  Comparison comparison = Comparison::Equal;
  std::string source;
};

// What a variable is assigned to: a name, or an element of an array.
struct Target {
  std::string name;
  std::optional<Expression> index;
  Position at;
};

struct Statement {
  enum class Kind : uint8_t { Call, Let, Expect, BreakIf, Repeat, Print, Show, Set };
  Kind kind = Kind::Call;
  Position at;
  std::string source;                  // one line: what the step's output starts with
  std::optional<Target> target;        // Call, Let
  const Operation* operation = nullptr;  // Call
  std::vector<Expression> operands;    // Call: in the operation's order; Let, Set, Repeat: one; Print: any; Show: the variable, where it is one
  mm::Gfp gfp = mm::Gfp::Kernel;
  mm::SlabFlag slab_flags = mm::SlabFlag::None;
  std::optional<Expression> align, constructor;  // kmem_cache_create
  std::string name;                    // kmem_cache_create: the cache's; Show, Set: what; Repeat: the counter
  std::optional<Condition> condition;  // Expect, BreakIf
  std::optional<std::string> expected_error;
  std::vector<Statement> body;         // Repeat
};

struct Script {
  std::vector<Statement> statements;
};

}  // namespace vitro::lab
