"""README.md: its Python blocks work when they are pasted one after the other, and print what it says they print."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_blocks() -> None:
    blocks = BLOCK.findall(README.read_text(encoding="utf-8"))
    code, printed = [], []
    for (language, block), (following, output) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            code += [block, f"print({'-' * 20!r})\n"]
            printed.append(output if following == "text" else None)
    assert code
    assert any(printed)
    done = subprocess.run([sys.executable, "-W", "error", "-c", "\n".join(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("-" * 20 + "\n")
    assert [out for out, wanted in zip(said, printed, strict=False) if wanted] == [p for p in printed if p]


def test_length_of_the_first_block() -> None:
    """It is called ten lines."""
    first = next(block for language, block in BLOCK.findall(README.read_text(encoding="utf-8")) if language == "python")
    assert sum(bool(line.strip()) for line in first.splitlines()) == 10
