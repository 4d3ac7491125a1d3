"""The programs in a package's own description, which its installation carries: nothing of them is copied here."""
import re
import textwrap
from importlib.metadata import metadata


def python_blocks(package):
    """Their texts, in order: indented below `code-block:: python`, or typed after `>>>` with empty lines in between."""
    described = metadata(package)
    text = described["Description"] or described.get_payload()
    blocks = re.findall(r"^\.\. code-block:: python\n\n((?:[ \t]+.*\n|\n)+)", text, re.MULTILINE)
    if not blocks:
        typed = re.findall(r"^(?:(?:>>>|\.\.\.).*\n)+", text, re.MULTILINE)
        blocks = [re.sub(r"^(?:>>>|\.\.\.) ?", "", block, flags=re.MULTILINE) for block in typed]
    blocks = [textwrap.dedent(block).strip() + "\n" for block in blocks]
    return [block for block in blocks if not block.startswith("pip ")]


def at(address, program):
    """The same with the address of a broker in the place of those that are written there."""
    return re.sub(r"localhost:\d+", address, program)
