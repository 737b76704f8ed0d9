"""A run module whose import takes until a file appears."""

import os
import time

from blocked_until import BEGUN, PATH
from run_functions import answer

with open(BEGUN, "w"):
    pass
while not os.path.exists(PATH):
    time.sleep(0.002)

__all__ = ["answer"]
