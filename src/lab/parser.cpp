// Text to tree, in one pass over the tokens. Also checks names: a variable must have been assigned in the text above and keeps its kind, so
// that a mistyped name is found before anything runs.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <map>

#include "lab/ast.h"
#include "lab/token.h"
#include "vitro/mm/zone.h"

namespace vitro::lab {
namespace {

constexpr unsigned kMaxDepth = 64;  // of brackets and of repeats: the tree is walked recursively

bool is_flag_word(const Token& t) { return t.kind == Token::Kind::Word && (t.text.starts_with("GFP_") || t.text.starts_with("__GFP_")); }
bool is_slab_flag_word(const Token& t) { return t.kind == Token::Kind::Word && t.text.starts_with("SLAB_"); }

class Parser {
 public:
  Parser(std::string_view text, std::vector<Token> tokens, std::map<std::string, Names::Variable> known)
      : text_(text), tokens_(std::move(tokens)), variables_(std::move(known)) {}

  Result<std::shared_ptr<const Script>, ScriptError> run() {
    auto script = std::make_shared<Script>();
    TRY(statements(script->statements, false));
    return std::shared_ptr<const Script>(std::move(script));
  }
  std::map<std::string, Names::Variable>& variables() { return variables_; }

 private:
  using Variable = Names::Variable;
  using Checked = Result<void, ScriptError>;

  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  const Token& take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool at_end() const { return peek().kind == Token::Kind::EndOfStatement || peek().kind == Token::Kind::EndOfFile || peek().is("}"); }
  bool accept(std::string_view symbol) {
    if (!peek().is(symbol)) return false;
    take();
    return true;
  }
  static auto error(Position at, std::string what) { return fail(ScriptError{at, std::move(what)}); }
  static std::string shown(const Token& t) {
    switch (t.kind) {
      case Token::Kind::EndOfStatement: return "the end of the line";
      case Token::Kind::EndOfFile: return "the end of the lab";
      case Token::Kind::String: return "a text";
      default: return fmt::format("'{}'", t.text);
    }
  }
  Checked expect_symbol(std::string_view symbol, std::string_view where) {
    if (accept(symbol)) return {};
    return error(peek().at, fmt::format("'{}' is missing {}, before {}", symbol, where, shown(peek())));
  }
  Checked expect_end(std::string_view after) {
    if (at_end()) return {};
    return error(peek().at, fmt::format("{} is too much after {}", shown(peek()), after));
  }
  std::string source(size_t first) const {
    if (at_ == first) return "";
    return std::string(text_.substr(tokens_[first].begin, tokens_[at_ - 1].end - tokens_[first].begin));
  }

  Checked statements(std::vector<Statement>& out, bool in_block) {
    for (;;) {
      while (peek().kind == Token::Kind::EndOfStatement) take();
      if (peek().kind == Token::Kind::EndOfFile) return {};
      if (peek().is("}")) {
        if (in_block) return {};
        return error(peek().at, "'}' closes nothing");
      }
      out.push_back(TRY(statement()));
      if (!at_end()) return error(peek().at, fmt::format("{} is too much here: one operation a line", shown(peek())));
    }
  }

  Result<Statement, ScriptError> statement() {
    const size_t first = at_;
    Statement s;
    s.at = peek().at;
    if (peek().kind != Token::Kind::Word) return error(s.at, fmt::format("a line starts with an operation or a variable, not with {}", shown(peek())));
    const std::string word = peek().text;
    if (word == "let") TRY(let(s));
    else if (word == "expect") TRY(expect(s));
    else if (word == "expect_error") TRY(expect_error(s));
    else if (word == "break") TRY(break_if(s));
    else if (word == "print" || word == "echo") TRY(print(s));
    else if (word == "show") TRY(show(s));
    else if (word == "set") TRY(set(s));
    else if (word == "repeat") {
      TRY(repeat(s, first));
      return s;
    } else TRY(call(s));
    s.source = source(first);
    return s;
  }

  // Variables.

  Result<Target, ScriptError> target() {
    const Token name = take();
    Target t{.name = name.text, .at = name.at};
    if (is_reserved(t.name)) return error(t.at, fmt::format("'{}' is a word of the language: choose another name for the variable", t.name));
    if (t.name.find_first_of("-.") != std::string::npos) return error(t.at, fmt::format("'{}' is no name for a variable: use letters, digits and _", t.name));
    if (is_counter(t.name)) return error(t.at, fmt::format("'{}' is the counter of this repeat", t.name));
    if (accept("[")) {
      t.index = TRY(number_expression("the index"));
      TRY(expect_symbol("]", "behind the index"));
    }
    return t;
  }

  Checked declare(const Target& t, VariableKind kind) {
    const bool array = t.index.has_value();
    const auto [it, fresh] = variables_.try_emplace(t.name, Variable{kind, array, t.at.line});
    if (fresh) return {};
    const Variable& old = it->second;
    if (old.array != array)
      return error(t.at, fmt::format("'{}' is {} since line {}", t.name, old.array ? "an array" : "no array", old.line));
    if (old.kind != kind)
      return error(t.at, fmt::format("'{}' is {} since line {} and cannot become {}", t.name, variable_kind_name(old.kind), old.line, variable_kind_name(kind)));
    return {};
  }

  bool is_counter(std::string_view name) const { return std::ranges::find(counters_, name) != counters_.end(); }
  bool is_variable(std::string_view name) const { return is_counter(name) || variables_.find(std::string(name)) != variables_.end(); }

  ScriptError unknown_name(const Expression& e) const {
    std::vector<std::string_view> names;
    for (const auto& [name, variable] : variables_) names.push_back(name);
    return {e.at, fmt::format("'{}' is not the name of a variable{}", e.text, suggestion(e.text, names))};
  }

  // Expressions.

  Result<Expression, ScriptError> expression(bool operand = false) {
    if (++depth_ > kMaxDepth) return error(peek().at, "too many brackets");
    Expression left = TRY(product());
    while (peek().is("+") || peek().is("-")) {
      // Among operands "p -8" are two, "p - 8" and "p-8" are one.
      if (operand && peek().after_space && peek().tight) break;
      const Token sign = take();
      left = binary(sign, std::move(left), TRY(product()));
      if (++terms_ > kMaxTerms) return error(sign.at, "the expression is too long");
    }
    if (--depth_ == 0) terms_ = 0;
    return left;
  }

  Result<Expression, ScriptError> product() {
    Expression left = TRY(unary());
    while (peek().is("*") || peek().is("/") || peek().is("%")) {
      const Token sign = take();
      left = binary(sign, std::move(left), TRY(unary()));
      if (++terms_ > kMaxTerms) return error(sign.at, "the expression is too long");
    }
    return left;
  }

  static Expression binary(const Token& sign, Expression left, Expression right) {
    Expression e{.kind = Expression::Kind::Binary, .at = sign.at, .operation = sign.text[0]};
    e.operands.push_back(std::move(left));
    e.operands.push_back(std::move(right));
    return e;
  }

  Result<Expression, ScriptError> unary() {
    if (!peek().is("-")) return primary();
    const Token sign = take();
    if (peek().is("-")) return error(peek().at, "'-' twice");
    Expression e{.kind = Expression::Kind::Negative, .at = sign.at};
    e.operands.push_back(TRY(primary()));
    return e;
  }

  Result<Expression, ScriptError> primary() {
    Expression e{.at = peek().at};
    if (peek().kind == Token::Kind::Number) {
      e.number = take().number;
      return e;
    }
    if (peek().kind == Token::Kind::String) {
      e.kind = Expression::Kind::Text;
      e.text = take().text;
      return e;
    }
    if (accept("(")) {
      e = TRY(expression());
      TRY(expect_symbol(")", "behind the expression"));
      return e;
    }
    if (peek().kind != Token::Kind::Word) return error(peek().at, fmt::format("a value is missing before {}", shown(peek())));
    if (peek(1).is("(")) return field();
    split_minus();
    e.text = take().text;
    if (e.text == "NULL") {
      e.kind = Expression::Kind::Null;
    } else if (e.text.starts_with("meminfo.") || e.text.starts_with("vmstat.")) {
      e.kind = Expression::Kind::Counter;
      const size_t dot = e.text.find('.');
      e.member = e.text.substr(dot + 1);
      e.text.resize(dot);
    } else if (is_variable(e.text)) {
      e.kind = Expression::Kind::Variable;
      TRY(index_of(e));
    } else {
      e.kind = Expression::Kind::Text;
      e.number = 1;  // a word without quotes: see check_word
      if (peek().is("[")) return fail(unknown_name(e));
    }
    return e;
  }

  Checked index_of(Expression& variable) {
    const auto it = variables_.find(variable.text);
    const bool array = !is_counter(variable.text) && it->second.array;
    if (!array) {
      if (peek().is("[")) return error(peek().at, fmt::format("'{}' is no array", variable.text));
      return {};
    }
    if (!accept("[")) return error(variable.at, fmt::format("'{}' is an array: write {}[0]", variable.text, variable.text));
    variable.operands.push_back(TRY(number_expression("the index")));
    return expect_symbol("]", "behind the index");
  }

  // "i-1" is read as one word, as kmalloc-128 is; where it starts with a variable's name it is a subtraction.
  void split_minus() {
    Token& word = tokens_[at_];
    const size_t minus = word.text.find('-');
    if (minus == std::string::npos || is_variable(word.text) || !is_variable(word.text.substr(0, minus))) return;
    auto rest = tokenize(std::string_view(word.text).substr(minus + 1));
    if (!rest || rest->size() != 3) return;
    const auto shift = static_cast<unsigned>(minus);
    Token sign{.kind = Token::Kind::Symbol, .at = {word.at.line, word.at.column + shift}, .text = "-", .tight = true, .begin = word.begin + minus,
               .end = word.begin + minus + 1};
    Token right = std::move(rest->front());
    right.at = {word.at.line, word.at.column + shift + 1};
    right.after_space = false;
    right.begin = sign.end, right.end = word.end;
    word.text.resize(minus);
    word.end = word.begin + minus;
    tokens_.insert(tokens_.begin() + static_cast<long>(at_) + 1, {std::move(sign), std::move(right)});
  }

  Result<Expression, ScriptError> field() {
    const Token name = take();
    Expression e{.kind = Expression::Kind::Field, .at = name.at, .text = name.text, .field = find_field(name.text)};
    if (!e.field) {
      std::vector<std::string_view> names;
      for (const Field& f : fields()) names.push_back(f.name);
      return error(name.at, fmt::format("unknown field '{}'{}", name.text, suggestion(name.text, names)));
    }
    take();  // the bracket
    for (const char letter : e.field->arguments) {
      if (peek().is(")") && std::isupper(static_cast<unsigned char>(letter))) break;
      if (!e.operands.empty()) TRY(expect_symbol(",", fmt::format("between the arguments of {}", e.field->usage)));
      if (peek().is(")")) return error(peek().at, fmt::format("an argument is missing: {}", e.field->usage));
      e.operands.push_back(TRY(expression()));
      TRY(check_argument(e.operands.back(), letter));
    }
    if (!peek().is(")")) return error(peek().at, fmt::format("{} is too much: {}", shown(peek()), e.field->usage));
    take();
    return e;
  }

  Checked check_argument(const Expression& e, char letter) const {
    switch (std::tolower(static_cast<unsigned char>(letter))) {
      case 'z': return check_choice(e, "zone", {"DMA", "DMA32", "Normal", "HighMem", "Movable"});
      case 't': return check_choice(e, "migrate type", {"Unmovable", "Movable", "Reclaimable", "HighAtomic"});
      case 'c': return e.kind == Expression::Kind::Text ? Checked{} : check_kind(e, letter);
      default: return check_kind(e, letter);
    }
  }

  static Checked check_choice(const Expression& e, std::string_view what, std::vector<std::string_view> choices) {
    if (e.kind == Expression::Kind::Variable) return {};  // checked when it has a value
    if (e.kind == Expression::Kind::Text && std::ranges::find(choices, e.text) != choices.end()) return {};
    return error(e.at, fmt::format("'{}' is no {}: it is one of {}", e.text, what, fmt::join(choices, ", ")));
  }

  VariableKind kind_of(const Expression& e) const {
    if (e.kind != Expression::Kind::Variable || is_counter(e.text)) return VariableKind::Number;
    return variables_.at(e.text).kind;
  }

  // Does an operand or argument fit its letter (see Operation::operands)?
  Checked check_kind(const Expression& e, char letter) const {
    if (e.kind == Expression::Kind::Text) return fail(unknown_name(e));
    const char wanted = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    const bool plain = e.kind == Expression::Kind::Variable;
    const VariableKind kind = kind_of(e);
    const auto refuse = [&](std::string_view what) -> Checked {
      return error(e.at, plain ? fmt::format("'{}' is {}, and {} is needed here", e.text, variable_kind_name(kind), what) : fmt::format("{} is needed here", what));
    };
    const bool null = e.kind == Expression::Kind::Null;
    switch (wanted) {
      case 'c':
        if (!null && (!plain || kind != VariableKind::Cache)) return refuse("a variable with a cache");
        return {};
      case 'm':
        if (!plain || kind != VariableKind::Memory) return refuse("a variable with user memory");
        return {};
      case 'a': case 'b':
        if (!null && (!plain || kind != VariableKind::Pages)) return refuse("a variable with pages from alloc_pages");
        return {};
      case 'l':
        if (!null && (!plain || kind == VariableKind::Cache || kind == VariableKind::Number)) return refuse("a variable with memory");
        return {};
      case 's': case 'o':
        if (null || (plain && kind != VariableKind::Number)) return refuse("a number");
        return {};
      case 'p':
        if (plain && (kind == VariableKind::Cache || kind == VariableKind::Memory || kind == VariableKind::Pages)) return refuse("a pointer");
        return {};
      default:
        if (plain && (kind == VariableKind::Cache || kind == VariableKind::Memory)) return refuse("a pointer");
        return {};
    }
  }

  Result<Expression, ScriptError> number_expression(std::string_view what) {
    Expression e = TRY(expression());
    if (e.kind == Expression::Kind::Text) return fail(unknown_name(e));
    TRY(check_kind(e, 's'));
    (void)what;
    return e;
  }

  Result<Condition, ScriptError> condition() {
    Condition c;
    const size_t first = at_;
    c.left = TRY(expression());
    static constexpr std::string_view kSigns[] = {"==", "!=", "<", "<=", ">", ">="};
    const auto* sign = std::ranges::find(kSigns, peek().kind == Token::Kind::Symbol ? std::string_view(peek().text) : std::string_view{});
    if (sign == std::end(kSigns))
      return error(peek().at, fmt::format("a comparison is missing before {}: write == != < <= > or >=", shown(peek())));
    take();
    c.comparison = static_cast<Comparison>(sign - std::begin(kSigns));
    c.right = TRY(expression());
    c.source = source(first);
    // A word that is compared with a number is a name that nobody assigned.
    const auto is_word = [](const Expression& e) { return e.kind == Expression::Kind::Text && e.number == 1; };
    if (is_word(c.left) && (is_word(c.right) || is_number(c.right))) return fail(unknown_name(c.left));
    if (is_word(c.right) && is_number(c.left)) return fail(unknown_name(c.right));
    return c;
  }

  // Certainly a number or an address.
  bool is_number(const Expression& e) const {
    using Kind = Expression::Kind;
    switch (e.kind) {
      case Kind::Number: case Kind::Counter: case Kind::Binary: case Kind::Negative: case Kind::Null: return true;
      case Kind::Variable: return is_counter(e.text) || kind_of(e) != VariableKind::Number;
      case Kind::Field:
        switch (e.field->id) {
          case FieldId::Zone: case FieldId::Cache: case FieldId::State: case FieldId::MigrateType: case FieldId::Contiguous: case FieldId::Live: return false;
          default: return true;
        }
      default: return false;
    }
  }

  // Statements.

  Checked let(Statement& s) {
    take();
    s.kind = Statement::Kind::Let;
    if (peek().kind != Token::Kind::Word) return error(peek().at, "let needs a name: let before = free(DMA32)");
    s.target = TRY(target());
    TRY(expect_symbol("=", "behind the name"));
    Expression value = TRY(expression());
    if (value.kind == Expression::Kind::Variable && kind_of(value) != VariableKind::Number)
      return error(value.at, fmt::format("'{}' is {}: let remembers numbers and words", value.text, variable_kind_name(kind_of(value))));
    s.operands.push_back(std::move(value));
    return declare(*s.target, VariableKind::Number);
  }

  Checked expect(Statement& s) {
    take();
    s.kind = Statement::Kind::Expect;
    s.condition = TRY(condition());
    return {};
  }

  Checked expect_error(Statement& s) {
    take();
    if (peek().kind != Token::Kind::String) return error(peek().at, "expect_error needs a text in quotes: expect_error \"double free\" kfree p");
    s.expected_error = take().text;
    if (at_end()) return error(peek().at, "the operation that fails is missing: expect_error \"double free\" kfree p");
    return call(s);
  }

  Checked break_if(Statement& s) {
    const Position at = take().at;
    s.kind = Statement::Kind::BreakIf;
    if (counters_.empty()) return error(at, "break leaves a repeat, and there is none here");
    if (!peek().is_word("if")) return error(peek().at, "break needs a condition: break if p[i] == NULL");
    take();
    s.condition = TRY(condition());
    return {};
  }

  Checked print(Statement& s) {
    take();
    s.kind = Statement::Kind::Print;
    while (!at_end()) s.operands.push_back(TRY(expression(true)));
    return {};
  }

  Checked show(Statement& s) {
    take();
    s.kind = Statement::Kind::Show;
    if (peek().kind != Token::Kind::Word) return error(peek().at, "show needs a name: show buddyinfo, or show p");
    const Token what = peek();
    if (is_variable(what.text)) {
      s.operands.push_back(TRY(expression()));
      if (s.operands[0].kind != Expression::Kind::Variable) return error(what.at, "show needs the name of a variable: print shows values");
      return {};
    }
    std::vector<std::string_view> names;
    for (const Topic& t : show_topics()) names.push_back(t.name);
    if (std::ranges::find(names, what.text) == names.end()) {
      for (const auto& [name, variable] : variables_) names.push_back(name);
      return error(what.at, fmt::format("'{}' cannot be shown{}", what.text, suggestion(what.text, names)));
    }
    s.name = take().text;
    if (s.name == "slab") {
      if (peek().kind != Token::Kind::Word) return error(peek().at, "show slab needs a cache: show slab kmalloc-128");
      s.operands.push_back(TRY(primary()));
      return check_argument(s.operands.back(), 'c');
    }
    return {};
  }

  Checked set(Statement& s) {
    take();
    s.kind = Statement::Kind::Set;
    std::vector<std::string_view> names;
    for (const Topic& t : settings()) names.push_back(t.name);
    if (peek().kind != Token::Kind::Word) return error(peek().at, fmt::format("set needs a name: {}", fmt::join(names, ", ")));
    const Token what = take();
    if (std::ranges::find(names, what.text) == names.end())
      return error(what.at, fmt::format("'{}' cannot be set{}", what.text, suggestion(what.text, names)));
    s.name = what.text;
    s.operands.push_back(TRY(number_expression("the value")));
    return {};
  }

  Checked repeat(Statement& s, size_t first) {
    take();
    s.kind = Statement::Kind::Repeat;
    s.operands.push_back(TRY(number_expression("the count")));
    s.name = "i";
    if (peek().is_word("as")) {
      take();
      if (peek().kind != Token::Kind::Word || is_reserved(peek().text)) return error(peek().at, "repeat N as NAME needs a name for the counter");
      s.name = take().text;
    }
    if (variables_.count(s.name)) return error(s.at, fmt::format("'{}' is a variable: name the counter otherwise, repeat N as NAME", s.name));
    if (is_counter(s.name)) return error(s.at, fmt::format("the repeat outside of this one counts with '{}': write repeat N as j", s.name));
    TRY(expect_symbol("{", "behind the count"));
    s.source = source(first);
    if (counters_.size() >= kMaxDepth) return error(s.at, "too many repeats inside each other");
    counters_.push_back(s.name);
    TRY(statements(s.body, true));
    if (!peek().is("}")) return error(s.at, "this repeat is not closed: '}' is missing");
    take();
    counters_.pop_back();
    return {};
  }

  Checked call(Statement& s) {
    s.kind = Statement::Kind::Call;
    if (peek().kind != Token::Kind::Word) return error(peek().at, fmt::format("an operation is missing before {}", shown(peek())));
    if (peek(1).is("=") || peek(1).is("[")) {
      s.target = TRY(target());
      TRY(expect_symbol("=", "behind the variable"));
    }
    const Token name = take();
    s.operation = find_operation(name.text);
    if (name.kind != Token::Kind::Word || !s.operation) {
      if (s.target && (name.kind != Token::Kind::Word || is_variable(name.text) || peek().is("(") || name.text == "NULL"))
        return error(name.at, fmt::format("an operation is missing before {}: values are remembered with let", shown(name)));
      std::vector<std::string_view> names;
      for (const Operation& o : operations()) names.push_back(o.name);
      for (std::string_view word : {"let", "expect", "expect_error", "repeat", "break", "print", "echo", "show", "set"}) names.push_back(word);
      return error(name.at, fmt::format("unknown operation '{}'{}", name.text, suggestion(name.text, names)));
    }
    if (s.target && s.operation->result == VariableKind::None) return error(name.at, fmt::format("{} returns nothing that '{}' could be", name.text, s.target->name));
    TRY(operands(s));
    if (s.target) return declare(*s.target, s.operation->result);
    return {};
  }

  Checked operands(Statement& s) {
    const std::string_view usage = s.operation->usage.empty() ? s.operation->name : s.operation->usage;
    bool flags = false, options = false, given = false;
    for (const char letter : s.operation->operands) {
      if (letter == 'f') flags = true;
      else if (letter == 'o') options = true;
    }
    const auto take_flags = [&]() -> Checked {
      while (flags && is_flag_word(peek())) {
        if (given) return error(peek().at, "flags are joined with |");
        s.gfp = TRY(gfp());
        given = true;
      }
      return {};
    };
    for (const char letter : s.operation->operands) {
      TRY(take_flags());
      if (letter == 'f' || letter == 'o') continue;
      if (at_end()) {
        if (std::isupper(static_cast<unsigned char>(letter))) break;
        return error(peek().at, fmt::format("{} is incomplete: {}", s.operation->name, usage));
      }
      if (letter == 'n') {
        if (peek().kind != Token::Kind::Word && peek().kind != Token::Kind::String) return error(peek().at, fmt::format("the cache's name is missing: {}", usage));
        s.name = take().text;
        continue;
      }
      s.operands.push_back(letter == 'a' ? TRY(array_or_pages(usage)) : TRY(expression(true)));
      TRY(check_kind(s.operands.back(), letter));
    }
    TRY(take_flags());
    if (options) TRY(cache_options(s));
    return expect_end(usage);
  }

  // "b", "b[2]", or an array's name alone where a count follows: its element 0 stands for it.
  Result<Expression, ScriptError> array_or_pages(std::string_view usage) {
    const Token name = peek();
    const auto it = variables_.find(name.text);
    if (name.kind != Token::Kind::Word || it == variables_.end() || !it->second.array || peek(1).is("[")) {
      Expression e = TRY(expression(true));
      if (!at_end()) return error(peek().at, fmt::format("a count needs an array: {}", usage));
      return e;
    }
    take();
    if (at_end()) return error(name.at, fmt::format("'{}' is an array: write {}[0], or how many of its elements", name.text, name.text));
    Expression e{.kind = Expression::Kind::Variable, .at = name.at, .text = name.text};
    e.operands.push_back({.kind = Expression::Kind::Number, .at = name.at});
    return e;
  }

  Result<mm::Gfp, ScriptError> gfp() {
    mm::Gfp flags = mm::Gfp::None;
    const Position first = peek().at;
    do {
      const Token name = take();
      const auto found = name.kind == Token::Kind::Word ? find_gfp(name.text) : std::nullopt;
      if (!found) return error(name.at, fmt::format("unknown flag {}{}", shown(name), suggestion(name.text, gfp_names())));
      flags = flags | *found;
    } while (accept("|"));
    // GFP_MOVABLE_MASK: a frame is of one migrate type (gfp_migratetype warns).
    if (mm::has(flags, mm::Gfp::Movable | mm::Gfp::Reclaimable)) return error(first, "memory is __GFP_MOVABLE or __GFP_RECLAIMABLE, not both");
    return flags;
  }

  Checked cache_options(Statement& s) {
    while (!at_end()) {
      if (is_slab_flag_word(peek())) {
        do {
          const Token name = take();
          const auto found = name.kind == Token::Kind::Word ? find_slab_flag(name.text) : std::nullopt;
          if (!found) return error(name.at, fmt::format("unknown flag {}{}", shown(name), suggestion(name.text, slab_flag_names())));
          s.slab_flags = s.slab_flags | *found;
        } while (accept("|"));
        continue;
      }
      const Token name = peek();
      const bool align = name.is_word("align");
      if (!align && !name.is_word("ctor"))
        return error(name.at, fmt::format("{} is no option of kmem_cache_create: align=N, ctor=BYTE or flags such as SLAB_HWCACHE_ALIGN", shown(name)));
      take();
      TRY(expect_symbol("=", fmt::format("behind {}", name.text)));
      Expression value = TRY(expression(true));
      TRY(check_kind(value, 's'));
      (align ? s.align : s.constructor) = std::move(value);
    }
    return {};
  }

  static constexpr unsigned kMaxTerms = 1000;
  std::string_view text_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  unsigned depth_ = 0, terms_ = 0;
  std::map<std::string, Variable> variables_;
  std::vector<std::string> counters_;
};

}  // namespace

Result<std::shared_ptr<const Script>, ScriptError> parse(std::string_view text, Names& names) {
  const unsigned first_line = names.lines + 1;
  names.lines += static_cast<unsigned>(std::count(text.begin(), text.end(), '\n'));
  std::vector<Token> tokens = TRY(tokenize(text, first_line));
  Parser parser(text, std::move(tokens), names.variables);
  auto script = TRY(parser.run());
  names.variables = std::move(parser.variables());
  return script;
}

Result<std::shared_ptr<const Script>, ScriptError> parse(std::string_view text) {
  Names names;
  return parse(text, names);
}

}  // namespace vitro::lab
