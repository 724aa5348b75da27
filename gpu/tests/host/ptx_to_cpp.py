"""Translate the PTX of a kernel without barriers to C++ that runs one thread at a time.

It knows the instructions that elementwise kernels consist of. Any other raises
NotImplementedError, so that a pass never means that something was skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TYPES = {"pred", "f16", "f32", "f64", *(f"{s}{n}" for s in "usb" for n in (8, 16, 32, 64))}
_FLOATS = {"f16", "f32", "f64"}
_WIDE = {"s32": "s64", "u32": "u64", "s16": "s32", "u16": "u32"}
_REGISTERS = {
    **{f"{kind}{bits}": f"u{bits}" for kind in "bsu" for bits in (16, 32, 64)},
    "pred": "bool",
    "f16": "u16",
    "f32": "f32",
    "f64": "f64",
}
_SPECIAL = {
    "%tid.x": "thread_in_block",
    "%ntid.x": "threads_per_block",
    "%ctaid.x": "block",
    "%nctaid.x": "blocks",
}
_COMPARE = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}
_LOGIC = {"and": "&", "or": "|", "xor": "^"}
_ROUND_TO_INTEGER = {
    "rzi": "std::trunc",
    "rmi": "std::floor",
    "rpi": "std::ceil",
    "rni": "std::nearbyint",
}
_OTHER_ROUNDINGS = {"rz", "rm", "rp"}
_NOT_GLOBAL = {"param", "local", "shared", "const"}
_COOPERATION = re.compile(r"\b(bar|barrier|shfl|vote|match)\.")


def translate(ptx: str) -> str:
    """C++ with a function ``NAME__launch(arguments, blocks, threads)`` for every kernel."""
    if _COOPERATION.search(ptx):
        raise NotImplementedError("the kernel's threads co-operate")
    ptx = re.sub(r"/\*.*?\*/", "", re.sub(r"//[^\n]*", "", ptx), flags=re.S)
    entry = re.compile(
        r"\.visible\s+\.entry\s+(\w+)\s*\((.*?)\)\s*((?:\.\w+\s+[\d, ]+\s*)*)\{", re.S
    )
    kernels = [
        _translate_kernel(found[1], found[2], _body(ptx, found.end()))
        for found in entry.finditer(ptx)
    ]
    if not kernels:
        raise NotImplementedError("PTX without a kernel")
    return "\n".join(['#include "ptx_prelude.h"', *kernels])


def _body(ptx: str, begin: int) -> str:
    depth, end = 1, begin
    while depth:
        depth += {"{": 1, "}": -1}.get(ptx[end], 0)
        end += 1
    return ptx[begin : end - 1]


def _translate_kernel(name: str, parameters: str, body: str) -> str:
    memory = []
    for parameter in _split(parameters):
        found = re.fullmatch(
            r"\.param\s+(?:\.align\s+\d+\s+)?\.\w+\s+(\w+)(?:\[\d+\])?", parameter.strip()
        )
        memory.append(found[1])
    code = _Code(set(memory))
    for statement in _statements(body):
        code.add(statement)
    pointers = [
        f"  const u8 *memory_{parameter} = (const u8 *)arguments[{n}];"
        for n, parameter in enumerate(memory)
    ]
    return "\n".join(
        [
            f"static void kernel_{name}(void **arguments) {{",
            *pointers,
            *code.declarations,
            *code.lines,
            "}",
            f'extern "C" void {name}__launch(void **arguments, u32 grid, u32 threads) {{',
            "  threads_per_block = threads;",
            "  blocks = grid;",
            "  executed = misaligned = races = 0;",
            "  ++launch_number;",
            "  for (block = 0; block < blocks; ++block)",
            "    for (thread_in_block = 0; thread_in_block < threads; ++thread_in_block)",
            f"      kernel_{name}(arguments);",
            "}",
        ]
    )


def _statements(body: str) -> list[str]:
    """Instructions, ``LABEL:`` and the braces of scopes."""
    # Labels get an end of their own, and so do the braces that are no operand's.
    body = re.sub(r"([$\w]+):(?!:)", r"\1:;", body)
    body = re.sub(r"(?<![\w,\s])\s*\{(?=\s*(?:\.reg|[a-z@%]))", "{;", body)
    statements = []
    for text in body.split(";"):
        text = text.strip()
        while text and text[0] in "{}" and not re.match(r"\{\s*%", text):
            statements.append(text[0])
            text = text[1:].strip()
        if text:
            statements.append(text)
    return statements


def _split(text: str) -> list[str]:
    """Split at the commas that are in no brackets."""
    parts, depth, current = [], 0, ""
    for letter in text:
        depth += (letter in "{[") - (letter in "}]")
        if letter == "," and not depth:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    return [*parts, current.strip()] if current.strip() else parts


def _register(name: str) -> str:
    return name.strip().replace("%", "r_").replace(".", "_").replace("$", "_")


@dataclass
class _Code:
    """A kernel's C++ so far."""

    memory: set[str]
    declarations: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    uncounted: int = 0

    def add(self, statement: str) -> None:
        if statement in "{}":
            self.lines.append(statement)
        elif statement.endswith(":"):
            self._count()
            self.lines.append(f"{_register(statement[:-1])}: ;")
        elif statement.startswith(".reg"):
            self._declare_registers(statement)
        elif statement.startswith(".local"):
            self._declare_local(statement)
        elif statement.startswith(".pragma"):
            pass
        elif statement.startswith("."):
            raise NotImplementedError(statement)
        else:
            self._add_instruction(statement)

    def _add_instruction(self, statement: str) -> None:
        condition = ""
        guard = re.match(r"@(!?)(%\w+)\s+", statement)
        if guard:
            condition = f"if ({guard[1]}{_register(guard[2])}) "
            statement = statement[guard.end() :]
        operation, *operands = statement.split(None, 1)
        self.uncounted += 1
        if operation.split(".")[0] in ("bra", "ret", "exit", "trap"):
            self._count()
        instruction = _Instruction(operation, _split("".join(operands)), self.memory)
        self.lines.append(f"{condition}{{ {instruction.translate()} }}")

    def _count(self) -> None:
        """Count the straight line of instructions that ends here."""
        if self.uncounted:
            self.lines.append(f"executed += {self.uncounted};")
        self.uncounted = 0

    def _declare_registers(self, statement: str) -> None:
        kind, names = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", statement, re.S).groups()
        registers = []
        for name in names.split(","):
            family = re.fullmatch(r"(.+)<(\d+)>", name.strip())
            if family:
                registers += [_register(f"{family[1]}{n}") for n in range(int(family[2]))]
            else:
                registers.append(_register(name))
        declared = ", ".join(f"{register}{{}}" for register in registers)
        is_in_scope = bool(self.lines) and self.lines[-1] == "{"
        (self.lines if is_in_scope else self.declarations).append(f"{_REGISTERS[kind]} {declared};")

    def _declare_local(self, statement: str) -> None:
        name, size = re.fullmatch(
            r"\.local\s+\.align\s+\d+\s+\.b8\s+(\w+)\[(\d+)\]", statement
        ).groups()
        self.memory.add(name)
        self.declarations.append(f"alignas(16) u8 memory_{name}[{size}];")


class _Instruction:
    """One instruction: ``add.ftz.f32`` and its operands."""

    def __init__(self, operation: str, operands: list[str], memory: set[str]) -> None:
        self.operation = operation
        self.name, *self.modifiers = operation.split(".")
        self.operands = operands
        self.memory = memory
        self.types = [modifier for modifier in self.modifiers if modifier in _TYPES]
        self.type = self.types[-1] if self.types else None
        self.flushes = "ftz" in self.modifiers

    def translate(self) -> str:
        prefix = "float_" if self.type in _FLOATS else ""
        method = getattr(self, f"_{prefix}{self.name}", None) or getattr(
            self, f"_{self.name}", None
        )
        if method is None or "approx" in self.modifiers or "full" in self.modifiers:
            raise NotImplementedError(self.operation)
        if "sat" in self.modifiers and self.name != "cvt":
            raise NotImplementedError(self.operation)
        if self.name != "cvt" and prefix and _OTHER_ROUNDINGS & set(self.modifiers):
            raise NotImplementedError(self.operation)
        return method()

    # Operands

    def _read(self, n: int, type_: str | None = None) -> str:
        return self._value(self.operands[n], type_ or self.type)

    def _value(self, operand: str, type_: str) -> str:
        text = self._unflushed(operand.strip(), type_)
        return f"flushed({text})" if self.flushes and type_ == "f32" else text

    def _unflushed(self, operand: str, type_: str) -> str:
        if operand in _SPECIAL:
            return f"as<{type_}>({_SPECIAL[operand]})"
        if operand.startswith("%"):
            register = _register(operand)
            return register if type_ == "pred" else f"as<{type_}>({register})"
        single = re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", operand)
        if single:
            return f"as<f32>((u32)0x{single[1]}u)"
        double = re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", operand)
        if double:
            return f"as<f64>((u64)0x{double[1]}ull)"
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", operand):
            suffix = "ull" if operand.startswith("0x") else "ll"
            return f"({'bool' if type_ == 'pred' else type_})({operand.rstrip('U')}{suffix})"
        if operand in self.memory:
            return f"(u64)&memory_{operand}[0]"
        raise NotImplementedError(f"operand {operand}")

    def _address(self, operand: str) -> str:
        base, sign, offset = re.fullmatch(r"\[([^+\-]+)([+-]?)(.*)\]", operand.strip()).groups()
        offset = sign + offset or "0"
        if base in self.memory:
            return f"(u64)(&memory_{base}[0] + ({offset}))"
        if base.startswith("%"):
            return f"({_register(base)} + ({offset}))"
        raise NotImplementedError(f"address {operand}")

    def _write(self, value: str, type_: str | None = None) -> str:
        type_ = type_ or self.type
        if type_ == "pred":
            return f"{_register(self.operands[0])} = (bool)({value});"
        value = f"({type_})({value})"
        if self.flushes and type_ == "f32":
            value = f"flushed({value})"
        return f"put({_register(self.operands[0])}, {value});"

    @property
    def _unsigned(self) -> str:
        return f"u{self.type[1:]}"

    # Control

    def _ret(self) -> str:
        return "return;"

    _exit = _ret

    def _bra(self) -> str:
        return f"goto {_register(self.operands[0])};"

    def _trap(self) -> str:
        return "__builtin_trap();"

    # Moves and memory

    def _mov(self) -> str:
        target, source = self.operands
        if target.startswith("{"):
            parts = _split(target[1:-1])
            bits = int(self.type[1:]) // len(parts)
            whole = self._read(1, self._unsigned)
            return " ".join(
                f"put({_register(part)}, (u{bits})({whole} >> {n * bits}));"
                for n, part in enumerate(parts)
            )
        if source.startswith("{"):
            parts = _split(source[1:-1])
            bits = int(self.type[1:]) // len(parts)
            whole = " | ".join(
                f"(({self._unsigned}){self._value(part, f'u{bits}')} << {n * bits})"
                for n, part in enumerate(parts)
            )
            return self._write(whole, self._unsigned)
        return self._write(self._read(1))

    _float_mov = _mov

    def _cvta(self) -> str:
        return self._write(self._read(1))

    @property
    def _where(self) -> str:
        return "" if _NOT_GLOBAL & set(self.modifiers) else "_global"

    def _vector(self, operand: str) -> list[str]:
        """Registers of an operand, several where the access is a vector's."""
        has_many = {"v2", "v4"} & set(self.modifiers)
        return _split(operand.strip()[1:-1]) if has_many else [operand]

    def _ld(self) -> str:
        address, size = self._address(self.operands[1]), int(self.type[1:]) // 8
        registers = self._vector(self.operands[0])
        return f"need_alignment({address}, {size * len(registers)}); " + " ".join(
            f"put({_register(register)}, load{self._where}<{self.type}>({address} + {n * size}));"
            for n, register in enumerate(registers)
        )

    _float_ld = _ld

    def _st(self) -> str:
        address, size = self._address(self.operands[0]), int(self.type[1:]) // 8
        registers = self._vector(self.operands[1])
        return f"need_alignment({address}, {size * len(registers)}); " + " ".join(
            f"store{self._where}<{self.type}>({address} + {n * size}, "
            f"{self._value(register, self.type)});"
            for n, register in enumerate(registers)
        )

    _float_st = _st

    def _atom(self) -> str:
        if "add" not in self.modifiers:
            raise NotImplementedError(self.operation)
        address = self._address(self.operands[1])
        return self._write(f"atomic_add<{self.type}>({address}, {self._read(2)})")

    _float_atom = _atom

    def _red(self) -> str:
        if "add" not in self.modifiers:
            raise NotImplementedError(self.operation)
        address = self._address(self.operands[0])
        return f"atomic_add<{self.type}>({address}, {self._read(1)});"

    _float_red = _red

    # Conversion

    def _cvt(self) -> str:
        target, source = self.types
        roundings = set(self.modifiers)
        value = self._read(1, source)
        if _OTHER_ROUNDINGS & roundings or "sat" in roundings:
            raise NotImplementedError(self.operation)
        if source == "f16":
            value = f"(f32){value}"
        for rounding, function in _ROUND_TO_INTEGER.items():
            if rounding in roundings:
                value = f"{function}({value})"
        if source in _FLOATS and target not in _FLOATS:
            value = f"to_integer<{target}>({value})"
        return self._write(value, target)

    # Floating point

    def _float_add(self) -> str:
        return self._write(f"{self._read(1)} + {self._read(2)}")

    def _float_sub(self) -> str:
        return self._write(f"{self._read(1)} - {self._read(2)}")

    def _float_mul(self) -> str:
        return self._write(f"{self._read(1)} * {self._read(2)}")

    def _float_div(self) -> str:
        return self._write(f"{self._read(1)} / {self._read(2)}")

    def _float_rcp(self) -> str:
        return self._write(f"1 / {self._read(1)}")

    def _float_fma(self) -> str:
        if self.type == "f16":  # would be rounded twice
            raise NotImplementedError(self.operation)
        return self._write(f"std::fma({self._read(1)}, {self._read(2)}, {self._read(3)})")

    def _float_neg(self) -> str:
        return self._write(f"-{self._read(1)}")

    def _float_abs(self) -> str:
        return self._write(f"std::fabs({self._read(1)})")

    def _float_min(self) -> str:
        return self._write(f"std::fmin({self._read(1)}, {self._read(2)})")

    def _float_max(self) -> str:
        return self._write(f"std::fmax({self._read(1)}, {self._read(2)})")

    def _float_sqrt(self) -> str:
        return self._write(f"std::sqrt({self._read(1)})")

    # Integers

    def _add(self) -> str:
        return self._sum("+")

    def _sub(self) -> str:
        return self._sum("-")

    def _sum(self, sign: str) -> str:
        if "cc" in self.modifiers:
            raise NotImplementedError(self.operation)
        unsigned = self._unsigned
        return self._write(f"{self._read(1, unsigned)} {sign} {self._read(2, unsigned)}", unsigned)

    def _mul(self) -> str:
        return self._write(*self._product())

    def _mad(self) -> str:
        product, type_ = self._product()
        return self._write(f"({type_})({product}) + {self._read(3, type_)}", type_)

    def _product(self) -> tuple[str, str]:
        if "cc" in self.modifiers:
            raise NotImplementedError(self.operation)
        if "wide" in self.modifiers:
            wide = _WIDE[self.type]
            return f"({wide}){self._read(1)} * ({wide}){self._read(2)}", f"u{wide[1:]}"
        if "hi" in self.modifiers:
            return f"high_product({self._read(1)}, {self._read(2)})", self._unsigned
        # In 64 bits, since two u16 would be multiplied as int.
        factors = (f"(u64){self._read(n, self._unsigned)}" for n in (1, 2))
        return " * ".join(factors), self._unsigned

    def _div(self) -> str:
        return self._write(f"quotient<{self.type}>({self._read(1)}, {self._read(2)})")

    def _rem(self) -> str:
        return self._write(f"remainder_of<{self.type}>({self._read(1)}, {self._read(2)})")

    def _min(self) -> str:
        return self._write(self._chosen("<"))

    def _max(self) -> str:
        return self._write(self._chosen(">"))

    def _chosen(self, sign: str) -> str:
        a, b = self._read(1), self._read(2)
        return f"{a} {sign} {b} ? {a} : {b}"

    def _neg(self) -> str:
        return self._write(f"0 - {self._read(1, self._unsigned)}", self._unsigned)

    def _abs(self) -> str:
        a = self._read(1)
        return self._write(f"{a} < 0 ? 0 - {self._read(1, self._unsigned)} : {a}", self._unsigned)

    # Bits

    def _and(self) -> str:
        return self._write(f"{self._read(1)} {_LOGIC[self.name]} {self._read(2)}")

    _or = _xor = _and

    def _not(self) -> str:
        return self._write(f"{'!' if self.type == 'pred' else '~'}{self._read(1)}")

    def _shl(self) -> str:
        return self._write(f"shift_left<{self.type}>({self._read(1)}, {self._read(2, 'u32')})")

    def _shr(self) -> str:
        return self._write(f"shift_right<{self.type}>({self._read(1)}, {self._read(2, 'u32')})")

    def _prmt(self) -> str:
        return self._write(f"permute({', '.join(self._read(n) for n in (1, 2, 3))})")

    def _lop3(self) -> str:
        return self._write(f"logic3({', '.join(self._read(n) for n in (1, 2, 3, 4))})")

    def _popc(self) -> str:
        return self._write(f"__builtin_popcountll({self._read(1, self._unsigned)})", "u32")

    def _clz(self) -> str:
        bits = int(self.type[1:])
        a = f"(u64){self._read(1, self._unsigned)}"
        return self._write(f"{a} ? __builtin_clzll({a}) - {64 - bits} : {bits}", "u32")

    # Predicates

    def _selp(self) -> str:
        return self._write(f"{_register(self.operands[3])} ? {self._read(1)} : {self._read(2)}")

    _float_selp = _selp

    def _setp(self) -> str:
        comparison = self.modifiers[0]
        if "|" in self.operands[0]:
            raise NotImplementedError(self.operation)
        a, b = self._read(1), self._read(2)
        if comparison == "nan":
            truth = f"std::isunordered({a}, {b})"
        elif comparison == "num":
            truth = f"!std::isunordered({a}, {b})"
        elif comparison in _COMPARE:
            truth = f"({a} {_COMPARE[comparison]} {b})"
            if comparison == "ne" and self.type in _FLOATS:
                truth += f" && !std::isunordered({a}, {b})"
        elif comparison[-1] == "u" and comparison[:-1] in _COMPARE:
            truth = f"std::isunordered({a}, {b}) || ({a} {_COMPARE[comparison[:-1]]} {b})"
        else:
            raise NotImplementedError(self.operation)
        combined = [modifier for modifier in self.modifiers[1:] if modifier in _LOGIC]
        if combined:
            truth = f"({truth}) {_LOGIC[combined[0]]} {_register(self.operands[3])}"
        return f"{_register(self.operands[0])} = {truth};"

    _float_setp = _setp
