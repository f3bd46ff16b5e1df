#!/usr/bin/env python3
"""docs/plan-reference.md from the key table of the library.

  tools/plan_reference.py            prints the page
  tools/plan_reference.py --write    writes docs/plan-reference.md
  tools/plan_reference.py --check    exit 1 when the committed page is another one

tn_plan_reference() makes the page from the table that also makes `explain` and `schema`; no verb prints it, so the shared
library is asked directly.
"""

import ctypes
import pathlib
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
LIBRARY = TOP / "build/libturnout.so"
PAGE = TOP / "docs/plan-reference.md"


def reference(library=LIBRARY):
    call = ctypes.CDLL(str(library)).tn_plan_reference
    call.restype = ctypes.c_void_p
    return ctypes.string_at(call()).decode()


def main(argv):
    if argv not in ([], ["--write"], ["--check"]):
        sys.stderr.write(__doc__)
        return 2
    text = reference()
    if argv == ["--write"]:
        PAGE.write_text(text)
    elif argv == ["--check"]:
        if PAGE.read_text() != text:
            sys.stderr.write("docs/plan-reference.md is not what the key table says: make && tools/plan_reference.py --write\n")
            return 1
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
