"""The contract's version."""

from typing import Final

FIRST_CONTRACT: Final = 1
"""Of records and reports that name none: the embedded workers of the first releases."""

CONTRACT_VERSION: Final = 2
"""What leaders of this release write."""
