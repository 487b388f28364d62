"""`python -m fakesweep.contract [FOLDER]`: write the contract."""

import sys
from pathlib import Path

from fakesweep.contract.documents import write_documents

write_documents(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/contract"))
