"""The languages of source code: their media types and file endings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """A language that programs, queries, style sheets or configurations are written in."""

    media_type: str
    suffixes: tuple[str, ...]
    aliases: tuple[str, ...] = ()


LANGUAGES: tuple[Language, ...] = (
    Language("text/x-python", (".py", ".pyi", ".pyw", ".pyx", ".pxd"), ("text/x-script.python",)),
    Language("text/x-c", (".c", ".h"), ("text/x-csrc", "text/x-chdr")),
    Language(
        "text/x-c++", (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".cu", ".ino"), ("text/x-c++src", "text/x-c++hdr")
    ),
    Language("text/x-csharp", (".cs",)),
    Language("text/x-java", (".java",), ("text/x-java-source",)),
    Language("text/x-kotlin", (".kt", ".kts")),
    Language("text/x-scala", (".scala", ".sc")),
    Language("text/x-groovy", (".groovy", ".gradle")),
    Language(
        "text/javascript",
        (".js", ".mjs", ".cjs", ".jsx"),
        ("application/javascript", "application/x-javascript", "text/ecmascript"),
    ),
    Language("text/x-typescript", (".ts", ".tsx", ".mts", ".cts"), ("application/typescript",)),
    Language("text/x-vue", (".vue", ".svelte")),
    Language("text/x-go", (".go",)),
    Language("text/x-rust", (".rs",)),
    Language("text/x-zig", (".zig",)),
    Language("text/x-swift", (".swift",)),
    Language("text/x-objective-c", (".m", ".mm")),
    Language("text/x-dart", (".dart",)),
    Language("text/x-ruby", (".rb", ".rake", ".gemspec"), ("application/x-ruby",)),
    Language("text/x-php", (".php",), ("application/x-php", "application/x-httpd-php")),
    Language("text/x-perl", (".pl", ".pm", ".t", ".pod"), ("application/x-perl",)),
    Language("text/x-lua", (".lua",)),
    Language("text/x-tcl", (".tcl",)),
    Language("text/x-r", (".r",)),
    Language("text/x-julia", (".jl",)),
    Language("text/x-haskell", (".hs", ".lhs")),
    Language("text/x-ocaml", (".ml", ".mli")),
    Language("text/x-fsharp", (".fs", ".fsi", ".fsx")),
    Language("text/x-elixir", (".ex", ".exs")),
    Language("text/x-erlang", (".erl", ".hrl")),
    Language("text/x-lisp", (".lisp", ".lsp", ".el", ".scm", ".ss", ".rkt")),
    Language("text/x-clojure", (".clj", ".cljs", ".cljc", ".edn")),
    Language("text/x-nim", (".nim",)),
    Language("text/x-fortran", (".f", ".for", ".f90", ".f95", ".f03", ".f08")),
    Language("text/x-pascal", (".pas", ".dpr")),
    Language("text/x-ada", (".adb", ".ads")),
    Language("text/x-cobol", (".cob", ".cbl")),
    Language("text/x-basic", (".bas", ".vb", ".vbs")),
    Language("text/x-assembly", (".s", ".asm")),
    Language("text/x-verilog", (".v", ".sv", ".vhd", ".vhdl")),
    Language("text/x-shellscript", (".sh", ".bash", ".zsh", ".fish", ".ksh"), ("application/x-sh", "text/x-sh")),
    Language("text/x-powershell", (".ps1", ".psm1", ".psd1")),
    Language("text/x-batch", (".bat", ".cmd")),
    Language("text/x-awk", (".awk",)),
    Language("text/x-vim", (".vim",)),
    Language("application/sql", (".sql", ".ddl"), ("text/x-sql", "application/x-sql")),
    Language("application/graphql", (".graphql", ".gql")),
    Language("text/x-protobuf", (".proto", ".thrift", ".avdl"), ("application/x-protobuf-schema",)),
    Language("text/css", (".css", ".scss", ".sass", ".less")),
    Language("text/x-cmake", (".cmake",)),
    Language("text/x-makefile", (".mk", ".mak", ".make"), ("text/x-make",)),
    Language("text/x-hcl", (".tf", ".tfvars", ".hcl")),
    Language("application/yaml", (".yaml", ".yml"), ("text/yaml", "text/x-yaml", "application/x-yaml")),
    Language("application/toml", (".toml",), ("text/toml",)),
    Language("text/x-ini", (".ini", ".cfg", ".conf", ".properties")),
)
"""Every language, with the usual media type first. What is highlighted by one set of rules is one language here."""
