"""Pickles looked over opcode by opcode before anything in them is made."""

import io
import os
import pickletools

from facerecon.errors import InputError

OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
FORBIDDEN_OPCODES = frozenset({"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"})
LINES = {"STRING": 1, "GLOBAL": 2, "INST": 2}  # texts up to a line's end, which pickletools would take for ASCII
MEMO_OPCODES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})


def check_opcodes(
    stream: io.BytesIO, size: int, path: str | os.PathLike, permitted: frozenset[str] = frozenset()
) -> None:
    """Refuse what could call out or claim memory that the file does not fill.

    Reads one pickle off a stream of `size` bytes. permitted: opcodes that would be refused otherwise.
    """
    name = ""
    while name != "STOP":
        opcode = OPCODES.get(stream.read(1))
        if opcode is None:
            raise ValueError("it is cut short, or is no pickle")
        name = opcode.name
        if name in FORBIDDEN_OPCODES - permitted:
            raise InputError(f"{path}: a pickle with the opcode {name}, which no model needs; refused")
        if name in LINES:
            for _ in range(LINES[name]):
                stream.readline()
        elif opcode.arg is not None:
            argument = opcode.arg.reader(stream)
            # The memo is one block as long as its largest index: a short file could ask for gigabytes.
            if name in MEMO_OPCODES and int(argument) > size:
                raise ValueError("impossible memo index")
